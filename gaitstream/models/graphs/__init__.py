"""What families are written with: layers in PyTorch and as ONNX graphs, checkpoints, drawn inputs.

It lies below the families and knows none of them. With a family's own module, graphs and cases it is the
export side of this package, and needs the extra `[export]`; nothing that runs a bundle imports it.
"""
