"""Metadata: what is read from photographs, kept, and written into results."""
