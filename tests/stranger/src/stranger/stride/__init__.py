"""A gait model whose convolutions mix frames: shape `clip`."""
