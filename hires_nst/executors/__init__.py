"""Work on this machine's processes and devices, or on a Ray cluster. Importing this package loads neither."""
