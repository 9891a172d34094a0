"""What stands beside gaitstream: PyTorch, and assemblies of parts that a user would pick instead."""
