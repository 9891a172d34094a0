"""BiggerGait: module, checkpoint, graphs and what the manifest says of them."""
