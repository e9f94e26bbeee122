"""The scores of a picture."""
