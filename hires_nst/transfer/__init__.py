"""The mathematics of the style transfer."""
