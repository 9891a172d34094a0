"""The assembly in eager PyTorch, fp32, inference mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

from benchmarks.baselines.assembly import Bytes, Floats, assemble, report
from benchmarks.weights import gaitheat_module
from gaitstream import zoo
from gaitstream.bench.result import Row
from gaitstream.models.gaitheat.pgha import align
from gaitstream.models.gaitheat.spec import UPPER_LOWER
from training.networks import DetectGraph, DetectNet, PoseNet


class TorchModels:
    """Detector, pose model and GaitHeat as PyTorch modules."""

    def __init__(self) -> None:
        self.detector = load_folded(DetectGraph(DetectNet()), zoo.find("demo", "detector"))
        self.pose = load_folded(PoseNet(), zoo.find("demo", "pose"), "net.")
        self.gait = gaitheat_module()

    @torch.inference_mode()
    def detect(self, pictures: Floats) -> Floats:
        """See `assembly.Models`."""
        return np.asarray(self.detector(torch.from_numpy(pictures)).numpy())

    @torch.inference_mode()
    def heatmaps(self, crops: Bytes) -> Floats:
        """See `assembly.Models`."""
        return np.asarray(self.pose(torch.from_numpy(crops).float()).numpy())

    @torch.inference_mode()
    def embed(self, heatmaps: Floats, keypoints: Floats) -> Floats:
        """See `assembly.Models`."""
        maps, joints = torch.from_numpy(heatmaps), torch.from_numpy(keypoints)
        parts = align(maps, joints, UPPER_LOWER, gamma_deg=0.0, small_angle="align").parts
        return np.asarray(self.gait(parts[None]).fusion.after[0].numpy())


def load_folded(net: nn.Module, manifest: Path, prefix: str = "") -> nn.Module:
    """Put a packaged graph's weights into its network; its batch norms are folded into the convolutions."""
    fold_away(net)
    stored = onnx.load(manifest.with_suffix(".onnx")).graph.initializer
    weights = {
        tensor.name.removesuffix("_half").removeprefix(prefix): torch.from_numpy(
            numpy_helper.to_array(tensor).astype(np.float32)
        )
        for tensor in stored
    }
    wanted = net.state_dict()
    net.load_state_dict({name: weights[name] for name in wanted})
    return net.eval()


def fold_away(module: nn.Module) -> None:
    """Replace every batch norm behind a convolution by a bias of that convolution."""
    for child in module.children():
        fold_away(child)
    if isinstance(module, nn.Sequential):
        parts: list[Any] = list(module)
        for index in range(len(parts) - 1):
            if isinstance(parts[index], nn.Conv2d) and isinstance(parts[index + 1], nn.BatchNorm2d):
                parts[index].bias = nn.Parameter(torch.zeros(parts[index].out_channels))
                module[index + 1] = nn.Identity()


def run(clips: list[str], bundle: str, stride: int) -> list[Row]:
    """The comparison's contender."""
    return report("PyTorch eager, per window", assemble(clips, TorchModels(), stride), bundle, stride)
