"""Pictures: reading, colour profiles, resizing, writing, and paper sizes."""
