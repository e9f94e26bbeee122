"""Decoders of the formats: header and pixels of an open file, as a `Raster`."""
