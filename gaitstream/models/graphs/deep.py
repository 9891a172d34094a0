"""What OpenGait's deep networks share: a stem on each frame, stages that may mix frames, and the head."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from torch import Tensor, nn

from gaitstream.errors import CheckpointError
from gaitstream.models.graphs.checkpoint import State, count, size, widths
from gaitstream.models.graphs.heads import SeparateBNNecks, SeparateFCs, pool_rows
from gaitstream.models.graphs.opengait import Block3D, BlockP3D, blocks, frame_blocks, to_clip

Mode = Literal["2d", "p3d", "3d"]
Four = tuple[int, int, int, int]
CHANNELS: Four = (64, 128, 256, 512)
DEPTHS: Four = (1, 1, 1, 1)
DEEP: Four = (1, 4, 4, 1)
"""Blocks of each stage: the usual ones, and those for Gait3D and GREW."""
STRIDES: Four = (1, 2, 2, 1)
ROWS = 16
"""Of the last map, whose rows are the parts."""
Pyramids = Mapping[int, tuple[int, ...]]
"""Pieces that the last map is cut into, level by level, by the number of parts that they are in all."""
BY_ROW: Pyramids = {ROWS: (ROWS,)}
NORMS: dict[Mode, str] = {
    "2d": "bn2.weight",
    "p3d": "conv2.forward_block.1.weight",
    "3d": "bn2.weight",
}
"""The last norm of a block, whose tensor tells the stage's width."""


class Sizes(TypedDict):
    """What the modules are built with.

    Attributes:
        channels: widths of the four stages.
        depths: blocks of each stage.
        dim: of a part's embedding.
        parts: rows of the last map.
        identities: classes of the training classifier; 0 leaves it empty.
    """

    channels: Four
    depths: Four
    dim: int
    parts: int
    identities: int


class DeepNetwork(nn.Module):
    """Stages two to four, head and neck; how a subclass comes to its maps is its own affair.

    Args:
        mode: kind of the blocks of stages two to four.
        channels: see `Sizes`, as the rest.
    """

    def __init__(
        self, mode: Mode, channels: Four, depths: Four, dim: int, parts: int, identities: int
    ) -> None:
        super().__init__()
        self.mode = mode
        for stage in (2, 3, 4):
            self.add_module(f"layer{stage}", make_stage(mode, stage, channels, depths))
        self.FCs = SeparateFCs(parts, channels[3], dim)
        self.BNNecks = SeparateBNNecks(parts, dim, identities)

    @abstractmethod
    def maps(self, clip: Tensor) -> Tensor:
        """Maps of every time step: `[n, inputs, s, 64, 44]` to `[n, c, s, 16, 11]`."""

    @property
    def mixing(self) -> list[BlockP3D | Block3D]:
        """The blocks that mix frames, in order along one path."""
        deep = (block for stage in (2, 3, 4) for block in self.get_submodule(f"layer{stage}").children())
        return [block for block in deep if isinstance(block, (BlockP3D, Block3D))]

    @property
    def context(self) -> int:
        """Frames on each side that change a frame's map."""
        return sum(block.context for block in self.mixing)

    def embed(self, pooled: Tensor) -> Tensor:
        """Embedding before the neck of pooled maps: `[n, c, 16, 11]` to `[n, parts, dim]`."""
        out: Tensor = self.FCs(pool_rows(pooled))
        return out

    def embed_after_neck(self, pooled: Tensor) -> Tensor:
        """Embedding after the neck, every part of unit length."""
        out: Tensor = self.BNNecks(self.embed(pooled))[0]
        return out

    def forward(self, frames: Tensor) -> Tensor:
        """A window's embedding before the neck: `[n, s, inputs, 64, 44]` in 0..1 to `[n, parts, dim]`."""
        return self.embed(self.maps(to_clip(frames)).amax(2))


class StemNetwork(DeepNetwork):
    """A network of one path: a stem, then the stages."""

    @abstractmethod
    def stem(self, clip: Tensor) -> Tensor:
        """Maps before stage two, each frame alone: `[n, inputs, s, 64, 44]` to `[n, c, s, 64, 44]`."""

    def maps(self, clip: Tensor) -> Tensor:
        """Maps of every time step."""
        x = self.stem(clip)
        for stage in (2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        return x


def make_stage(mode: Mode, stage: int, channels: Four, depths: Four) -> nn.Module:
    """Stage two, three or four."""
    inputs, outputs = channels[stage - 2], channels[stage - 1]
    stride, depth = STRIDES[stage - 1], depths[stage - 1]
    if mode == "2d":
        return frame_blocks(inputs, outputs, stride, depth)
    return blocks(BlockP3D if mode == "p3d" else Block3D, inputs, outputs, stride, depth)


def read_sizes(
    state: State, stages: Sequence[str], norms: Sequence[str], pyramids: Pyramids = BY_ROW
) -> Sizes:
    """Sizes of a four-stage network from a checkpoint's tensors.

    Args:
        state: the checkpoint.
        stages: what stands before the number of a block, by stage.
        norms: a block's last norm, by stage.
        pyramids: those that the network's published code may be configured with.

    Raises:
        CheckpointError: the parts are those of another pyramid.
    """
    parts = size(state, "FCs.fc_bin", 0, ROWS)
    if parts not in pyramids:
        known = " or ".join(f"{count} parts (bin_num: {list(bins)})" for count, bins in pyramids.items())
        raise CheckpointError(
            f"FCs.fc_bin has {parts} parts: only the published pooling is supported, {known}"
        )
    d1, d2, d3, d4 = (count(state, stage + "{}." + norm) for stage, norm in zip(stages, norms, strict=True))
    return Sizes(
        channels=widths(state, [f"{stage}0.{norm}" for stage, norm in zip(stages, norms, strict=True)]),
        depths=(d1, d2, d3, d4),
        dim=size(state, "FCs.fc_bin", 2, 256),
        parts=parts,
        identities=size(state, "BNNecks.fc_bin", 2, 0),
    )


def read_deep_sizes(state: State, mode: Mode, first: str) -> Sizes:
    """Sizes of a `DeepNetwork`; `first` stands before the number of a block of its stage one."""
    inner = "layer{}.forward_block." if mode == "2d" else "layer{}."
    return read_sizes(
        state,
        [first, *(inner.format(stage) for stage in (2, 3, 4))],
        [NORMS["2d"], *[NORMS[mode]] * 3],
    )
