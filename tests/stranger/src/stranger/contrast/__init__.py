"""A segmentation model without weights: what differs from the crop's edges is the person."""
