"""Recover a trainable checkpoint from the demo's packaged gait bundle, to go on from it.

    python training/recover_gait.py --bundle gaitstream/zoo/demo/gaitheat --out runs/recovered.pt

The bundle's convolutions hold their batch normalisation. It is taken out again: drawn maps give each
normalisation its statistics, and scale and shift what undoes them, so that the model computes what it did
and can be trained on. Only the fusion branch is in a bundle; the heads of the other two branches begin
anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx
import torch
from networks import CHANNELS, DEPTHS, DIM
from onnx import numpy_helper
from torch import Tensor, nn
from walks import CROWD, Noise, WalkBank, draw_keypoints, draw_parts

from gaitstream.cli.script import run_script
from gaitstream.models.gaitheat.module import GaitHeat
from gaitstream.models.graphs.resnet import BasicBlock


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    model = GaitHeat(CHANNELS, dim=DIM, identities=1, depths=DEPTHS).eval()
    take_convolutions(model, args.bundle / "frame.onnx")
    take_head(model, args.bundle / "head.onnx")
    maps = drawn_maps(48)
    before = model.features(maps)[2]
    normalise(model, maps)
    print(
        f"largest difference after undoing the folding: {(model.features(maps)[2] - before).abs().max():.1e}"
    )
    args.out.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict()}, args.out)


def drawn_maps(sequences: int) -> Tensor:
    """Part maps of frames `[n, 1 + parts, 64, 48]`."""
    rng = torch.Generator().manual_seed(3)
    bank = WalkBank(CROWD, sequences, 1)
    points = draw_keypoints(bank, torch.arange(sequences), 4, rng, Noise())
    return draw_parts(points, rng, Noise()).flatten(0, 1)


def initialisers(path: Path) -> tuple[dict[str, Tensor], onnx.GraphProto]:
    """Constants of a graph by name, and the graph."""
    graph = onnx.load(path).graph
    return {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}, graph


def layers(model: GaitHeat) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions and their normalisations in the order of the graph."""
    stem = model.Backbone1.forward_block
    found = [(stem.conv1.conv, stem.bn1), *_of_blocks(stem)]
    for pair in model.stages():
        for network in pair:
            found += _of_blocks(network)
    return found


def _of_blocks(network: nn.Module) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    found = []
    for block in network.modules():
        if isinstance(block, BasicBlock):
            if block.downsample is not None:
                found.append((block.downsample[0], block.downsample[1]))
            found += [(block.conv1, block.bn1), (block.conv2, block.bn2)]
    return found


@torch.no_grad()
def take_convolutions(model: GaitHeat, path: Path) -> None:
    """Weights from the graph; normalisations that only add the bias."""
    constants, graph = initialisers(path)
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    for node, (conv, norm) in zip(convolutions, layers(model), strict=True):
        conv.weight.copy_(constants[node.input[1]])
        norm.weight.fill_((1 + norm.eps) ** 0.5)
        norm.bias.copy_(constants[node.input[2]])


@torch.no_grad()
def take_head(model: GaitHeat, path: Path) -> None:
    """The fusion branch's projection, with a neck that only adds the bias."""
    constants, graph = initialisers(path)
    (product,) = [node for node in graph.node if node.op_type == "MatMul"]
    (shift,) = [node for node in graph.node if node.op_type == "Add" and product.output[0] in node.input]
    model.FCs_fusion.fc_bin.copy_(constants[product.input[1]])
    norm = model.BNNecks_fusion.bn1d
    norm.weight.fill_((1 + norm.eps) ** 0.5)
    bias = next(constants[name] for name in shift.input if name in constants)
    # Parts first in the graph, channels first in the neck.
    norm.bias.copy_(bias[:, 0].T.flatten())


@torch.no_grad()
def normalise(model: GaitHeat, maps: Tensor) -> None:
    """Give every normalisation the statistics of what it sees, without changing what it gives."""
    seen: dict[nn.Module, Tensor] = {}
    hooks = [
        norm.register_forward_pre_hook(lambda module, inputs: seen.__setitem__(module, inputs[0]))
        for _, norm in layers(model)
    ]
    model.features(maps)
    for hook in hooks:
        hook.remove()
    for _, norm in layers(model):
        mean, variance = seen[norm].mean((0, 2, 3)), seen[norm].var((0, 2, 3))
        # It was the identity with a bias.
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)


if __name__ == "__main__":
    run_script(main)
