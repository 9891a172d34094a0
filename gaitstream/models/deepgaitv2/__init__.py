"""DeepGaitV2: module, checkpoint, graphs and what the manifest says of them."""
