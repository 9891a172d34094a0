"""Several processes training one network: `python -m torch.distributed.run --nproc_per_node 2 SCRIPT ...`."""

from __future__ import annotations

import os
import time

import torch
from torch import distributed as dist
from torch import nn


def join() -> None:
    """Join the other processes, if the script was started as one of several."""
    if "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")


def my_rank() -> int:
    """Number of this process; 0 writes the files."""
    return dist.get_rank() if dist.is_initialized() else 0


def seconds_since(start: float) -> float:
    """The clock; that of the slowest process where there are several, so that all end after the same step."""
    clock = torch.tensor([time.monotonic() - start], dtype=torch.float64)
    if dist.is_initialized():
        dist.all_reduce(clock, op=dist.ReduceOp.MAX)
    return float(clock)


def share_gradients(parameters: list[nn.Parameter]) -> None:
    """Average the gradients over the processes of `torch.distributed.run`, if there are several."""
    if not dist.is_initialized():
        return
    flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for p in parameters:
        if p.grad is not None:
            p.grad.copy_(flat[start : start + p.numel()].view_as(p))
            start += p.numel()
