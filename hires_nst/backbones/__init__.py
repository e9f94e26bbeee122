"""The networks: descriptions, the VGG feature extractor, and where weights come from."""
