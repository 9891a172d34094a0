"""The GPU front end: DeepStream decodes, detects, tracks, crops and runs the frame graphs.

What reaches Python is one feature map per tracked person and frame; everything after it is the pipeline
that the native front end uses too. `docs/deepstream.md` explains the graph, its tuning and its limits.
"""
