"""Paintings by name: those that come with the program, and the user's own. Does not import torch."""

from hires_nst.gallery.paintings import GalleryPainting
from hires_nst.gallery.resolving import painting_file, resolved

__all__ = ["GalleryPainting", "painting_file", "resolved"]
