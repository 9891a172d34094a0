"""GaitJoints: module, checkpoint, graph and what the manifest says of them."""
