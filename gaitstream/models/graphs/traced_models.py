"""The two shapes of traced families: frames that are encoded alone and pooled, and windows that are not.

A family says what it looks at, gives two or one functions of its module, and is described, traced and proved
by what stands here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gaitstream.models.chunks import MAXIMA, NEXT
from gaitstream.models.graphs import windows
from gaitstream.models.graphs.chunks import Left, follow, nothing_left
from gaitstream.models.graphs.conditioning import draw_frames, draw_windows, noise_of
from gaitstream.models.graphs.deep import StemNetwork
from gaitstream.models.graphs.splice import of_pixels
from gaitstream.models.graphs.traced import Traced, TracedModel
from gaitstream.models.inputs import NAMES
from gaitstream.models.manifest import (
    ClipContract,
    EmbeddingContract,
    FeatureContract,
    InputContract,
    InputKind,
    Pooling,
)
from gaitstream.models.trained import (
    EMBEDDING,
    FEATURES,
    POOLED,
    Array,
    Case,
    Description,
    Limits,
    NvinferCase,
)

CROPS = NAMES[InputKind.CROP]
NVINFER_LIMIT = 1e-3
"""Largest relative error of features for nvinfer: they are rounded to half precision, which is 2e-4."""
NOISE_FACTOR = 4
"""A right graph's relative error in float32 may be this many times what rounding alone brings."""
LONGEST_CHUNK = 15
"""A window slides by so many frames by default: a graph for longer chunks would lie there unused."""
EXAMPLES, FRAMES = 2, 5
"""Batch and window of the inputs a graph is traced with; sizes that vary must not be 1."""


@dataclass(frozen=True)
class Tap:
    """Which embedding it is, and how two are compared.

    Attributes:
        name: in words, for the manifest.
        metric: of the published evaluation.
    """

    name: str
    metric: str = "mean_part_l2"


class SetModel(TracedModel):
    """A model that encodes every frame alone.

    Args:
        family: its name.
        module: in evaluation mode.
        inputs: what it looks at, in the order of `features`' arguments.
        features: frames `[n, ...]` to maps `[n, c, h, w]` by output name, `features` first.
        embed: pooled maps in the same order to `[n, parts, dim]`; a `sequence` comes as `[n, s, c, h, w]`.
        tap: which embedding it is.
        poolings: of the outputs that are not pooled by their maximum.
        usable: frames in which rounding decides no pixel, bool `[n]`, by the arguments of `features`.
    """

    def __init__(
        self,
        family: str,
        module: nn.Module,
        inputs: tuple[InputContract, ...],
        features: Callable[..., dict[str, Tensor]],
        embed: Callable[..., Tensor],
        tap: Tap,
        poolings: Mapping[str, Pooling] | None = None,
        usable: Callable[..., Tensor] | None = None,
    ) -> None:
        self._family = family
        self.module = module
        self._inputs, self._tap = inputs, tap
        self._features, self._embed = features, embed
        self._poolings = poolings or {}
        self._usable = usable

    @property
    def family(self) -> str:
        """Name of the family."""
        return self._family

    def describe(self) -> Description:
        """Shapes are those of two drawn frames."""
        maps, embedding = self._example()
        contracts = {name: self._contract(name, one) for name, one in maps.items()}
        return Description(
            input=self._inputs[0],
            more_inputs=self._inputs[1:],
            feature=contracts.pop(FEATURES),
            more_features=contracts,
            embedding=_embedding_contract(embedding, self._tap),
        )

    def traced(self) -> Mapping[str, Traced]:
        """`frame` and `head`."""
        frames = windows.draw(self._inputs, EXAMPLES)[0]
        maps, _ = self._example()
        pooled = {name: self._gathered(name, one) for name, one in maps.items()}

        def frame(*inputs: Tensor) -> tuple[Tensor, ...]:
            return tuple(self._features(*inputs).values())

        varies = {_pooled(name): {1: "frames"} for name in maps if self._pooling(name) == "sequence"}
        return {
            "frame": Traced(frame, _tensors(frames), tuple(maps)),
            "head": Traced(
                self._embed, {_pooled(name): one for name, one in pooled.items()}, (EMBEDDING,), varies
            ),
        }

    def for_nvinfer(self, graphs: Mapping[str, onnx.ModelProto], *, half: bool) -> onnx.ModelProto:
        """The frame graph of a model that looks at crops and nothing else."""
        if [one.kind for one in self._inputs] != [InputKind.CROP]:
            return super().for_nvinfer(graphs, half=half)
        return of_pixels(graphs["frame"], CROPS, FEATURES, self._feature)

    def nvinfer_case(self) -> NvinferCase:
        """The same crops."""
        feeds = self.case().feeds
        limits = dict.fromkeys(("fp32", "fp16"), NVINFER_LIMIT)
        return NvinferCase(feeds[CROPS].astype(np.float32), self._feature, lambda _: feeds, limits)

    @property
    def _feature(self) -> str:
        return f"{self._family}_feature"

    def case(self) -> Case:
        """Walkers in windows of two lengths."""
        draw = windows.draw_sequences if self._usable is None else partial(draw_frames, usable=self._usable)
        feeds, sequences = draw(self._inputs)
        with torch.no_grad():
            maps = self._features(*_tensors(feeds).values())
            pooled = {name: self._pool(name, one, sequences) for name, one in maps.items()}
            embedding = windows.each_length(
                sequences,
                lambda index: self._embed(*(torch.stack([one[i] for i in index]) for one in pooled.values())),
            )
        return Case(
            windows.about(),
            feeds,
            sequences,
            {name: one.numpy() for name, one in maps.items()},
            embedding,
            dict,
        )

    def _example(self) -> tuple[dict[str, Tensor], Tensor]:
        frames = windows.draw(self._inputs, EXAMPLES)[0]
        with torch.no_grad():
            maps = self._features(*_tensors(frames).values())
            embedding = self._embed(*(self._gathered(name, one) for name, one in maps.items()))
        return maps, embedding

    def _gathered(self, name: str, maps: Tensor) -> Tensor:
        """Maps as the head takes them."""
        return maps[:, None].repeat(1, FRAMES, 1, 1, 1) if self._pooling(name) == "sequence" else maps

    def _pool(self, name: str, maps: Tensor, sequences: NDArray[np.int64]) -> list[Tensor]:
        """What the head takes of each sequence."""
        parts = [maps[torch.from_numpy(sequences == index)] for index in range(int(sequences.max()) + 1)]
        return parts if self._pooling(name) == "sequence" else [part.amax(0) for part in parts]

    def _pooling(self, name: str) -> Pooling:
        return self._poolings.get(name, "max")

    def _contract(self, name: str, maps: Tensor) -> FeatureContract:
        _, channels, height, width = maps.shape
        return FeatureContract(channels=channels, height=height, width=width, pooling=self._pooling(name))


@dataclass(frozen=True)
class Chunks:
    """How windows share the interior maps of a network of pseudo 3-D blocks; see `chunks`.

    Attributes:
        network: the network.
        embed: pooled maps to `[n, parts, dim]`.
    """

    network: StemNetwork
    embed: Callable[[Tensor], Tensor]

    def traced(self, inputs: dict[str, Tensor]) -> dict[str, Traced]:
        """The graphs `chunk` and `head`.

        Args:
            inputs: an example of each, of more frames than the shortest chunk.
        """
        whole = torch.cat(list(inputs.values()), 1)
        left = nothing_left(self.network, whole)
        count = len(inputs)

        def advance(*given: Tensor) -> tuple[Tensor, ...]:
            kept = given[count:]
            before = tuple(Left(*pair) for pair in zip(kept[::2], kept[1::2], strict=True))
            found = follow(self.network, torch.cat(given[:count], 1), before)
            return (*found[:3], *chain.from_iterable(found.left))

        names = [f"{part}_{block}" for block in range(len(left)) for part in Left._fields]
        feeds = {**inputs, **dict(zip(names, chain.from_iterable(left), strict=True))}
        outputs = (*MAXIMA, *(f"{NEXT}{name}" for name in names))
        varies = {name: {2: "frames"} for name in inputs}
        least = {"frames": 2 * self.network.context}
        pooled = follow(self.network, whole, left).started
        return {
            "chunk": Traced(advance, feeds, outputs, varies, least),
            "head": Traced(self.embed, {POOLED: pooled}, (EMBEDDING,)),
        }


def share(network: StemNetwork, embed: Callable[[Tensor], Tensor]) -> Chunks | None:
    """How windows share what they have in common; None where a network looks too far or mixes otherwise."""
    shares = network.mode == "p3d" and 2 * network.context <= LONGEST_CHUNK
    return Chunks(network, embed) if shares else None


class ClipModel(TracedModel):
    """A model whose layers mix the frames of a window.

    Args:
        family: its name.
        module: in evaluation mode.
        inputs: what it looks at, in the order of `embed`'s arguments.
        embed: a window `[n, channels, s, ...]` of each to `[n, parts, dim]`.
        clip: how many frames it takes, and how far it looks.
        tap: which embedding it is.
        chunks: how windows share what they have in common; None where they cannot.
    """

    def __init__(
        self,
        family: str,
        module: nn.Module,
        inputs: tuple[InputContract, ...],
        embed: Callable[..., Tensor],
        clip: ClipContract,
        tap: Tap,
        chunks: Chunks | None = None,
    ) -> None:
        self._family = family
        self.module = module
        self._inputs, self._embed, self._clip, self._tap = inputs, embed, clip, tap
        self._chunks = chunks

    @property
    def family(self) -> str:
        """Name of the family."""
        return self._family

    def describe(self) -> Description:
        """Shapes are those of a drawn window."""
        with torch.no_grad():
            embedding = self._embed(*self._example().values())
        return Description(
            input=self._inputs[0],
            more_inputs=self._inputs[1:],
            clip=self._clip,
            embedding=_embedding_contract(embedding, self._tap),
        )

    def traced(self) -> Mapping[str, Traced]:
        """`clip`; for windows that share chunks, `chunk` and `head` as well."""
        inputs = self._example()
        varies = {name: {2: "frames"} for name in inputs}
        clip = {"clip": Traced(self._embed, inputs, (EMBEDDING,), varies)}
        if self._chunks is None:
            return clip
        with torch.no_grad():
            return clip | self._chunks.traced(self._example(2 * self._chunks.network.context + 1))

    def case(self) -> Case:
        """Walkers in windows of two lengths, on which rounding moves the module by little.

        Where it moves the module by much on every window, float32 may be as far off as that.
        """
        found = draw_windows(self._inputs, self.module, self._embed)
        feeds = {
            name: np.concatenate([one.feeds[name] for one in found])
            for name in (NAMES[contract.kind] for contract in self._inputs)
        }
        lengths = [len(next(iter(one.feeds.values()))) for one in found]
        noise = noise_of(found)
        return Case(
            windows.about(len(found)),
            feeds,
            np.repeat(np.arange(len(found)), lengths),
            {},
            np.stack([one.embedding for one in found]),
            dict,
            limits=Limits(fp32=max(Limits.fp32, NOISE_FACTOR * noise)),
            noise=noise,
        )

    def _example(self, frames: int = FRAMES) -> dict[str, Tensor]:
        frames = max(frames, self._clip.min_frames)
        feeds, sequences = windows.draw(self._inputs, frames, EXAMPLES)
        return {
            name: torch.stack([windows.clip_of(array, sequences == i) for i in range(EXAMPLES)])
            for name, array in feeds.items()
        }


def _tensors(feeds: dict[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in feeds.items()}


def _pooled(name: str) -> str:
    return POOLED if name == FEATURES else f"{POOLED}_{name}"


def _embedding_contract(embedding: Tensor, tap: Tap) -> EmbeddingContract:
    _, parts, dim = embedding.shape
    return EmbeddingContract(parts=parts, dim=dim, tap=tap.name, metric=tap.metric)  # type: ignore[arg-type]
