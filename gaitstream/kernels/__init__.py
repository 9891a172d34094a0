"""Alignment and crop kernels: one mathematics for the GPU and the CPU, with a numpy oracle beside it."""

from gaitstream.kernels.alignment import align
from gaitstream.kernels.contract import Aligned

__all__ = ["Aligned", "align"]
