"""What pose and segmentation models share: a network on person crops, its pixels normalised as declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from gaitstream.engines import Engine, Pixels, open_engine
from gaitstream.engines.base import TensorSpec
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import ConfigError, EngineError
from gaitstream.models.crops import Bytes, can_compile
from gaitstream.models.resolve import quantised_beside
from gaitstream.models.running import run_parts

CROPS_AT_ONCE = 16
"""Crops per inference: more gain nothing on a CPU and cost memory."""

Colour = Literal["rgb", "bgr"]
Triple = tuple[float, float, float]


class PixelContract(Protocol):
    """How a graph wants its pixels: `(x / scale - mean) / std` in the order of `colour`."""

    @property
    def graph(self) -> str: ...  # noqa: D102 - fields of the manifests
    @property
    def colour(self) -> Colour: ...  # noqa: D102
    @property
    def scale(self) -> float: ...  # noqa: D102
    @property
    def mean(self) -> Triple: ...  # noqa: D102
    @property
    def std(self) -> Triple: ...  # noqa: D102
    @property
    def precisions(self) -> tuple[Literal["bf16", "int8"], ...]: ...  # noqa: D102
    @property
    def int8(self) -> str: ...  # noqa: D102


def check_pixels(contract: PixelContract, source: TensorSpec) -> None:
    """See that an input takes the pixels that its manifest makes for it; bytes are left to the graph.

    Raises:
        ConfigError: it takes whole numbers, and they are none, or lie outside its type.
    """
    if source.dtype == "uint8" or not source.dtype.startswith(("int", "uint")):
        return
    pixels = np.arange(256)[:, None]
    values = (pixels / contract.scale - np.asarray(contract.mean)) / np.asarray(contract.std)
    limits = np.iinfo(source.dtype)
    if np.abs(values - np.rint(values)).max() > 1e-3:
        fault = "are no whole numbers"
    elif np.rint(values.min()) < limits.min or np.rint(values.max()) > limits.max:
        fault = f"go from {values.min():.0f} to {values.max():.0f}"
    else:
        return
    raise ConfigError(
        f"{contract.graph} takes {source.dtype}, and the pixels that scale, mean and std of its manifest "
        f"make {fault}: set those that it expects, such as scale: 1, mean: [0, 0, 0], std: [1, 1, 1] for "
        "0..255, or export it for float32"
    )


def as_type(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Normalised pixels in the type that a graph takes; see `check_pixels`."""
    whole = values if dtype.startswith(("float", "bfloat")) else np.rint(values)
    return whole.astype(dtype, copy=False)


class CropNetwork:
    """A network that takes RGB crops of people.

    Args:
        contract: how its pixels are normalised.
        engine: what runs it.

    Attributes:
        engine: as given.
        input: its picture input.
        output: its first output, the only one of pose models.

    Raises:
        ConfigError: the graph takes other pixels than the contract makes.
    """

    def __init__(self, contract: PixelContract, engine: Engine) -> None:
        self.engine = engine
        self.input = next(iter(engine.inputs.values()))
        self.output = next(iter(engine.outputs.values()))
        check_pixels(contract, self.input)
        self._colour = contract.colour
        self._rows = self.input.shape[0]
        self._step = self._rows if self._rows > 0 else engine.rows_at_once(CROPS_AT_ONCE)
        mean = np.asarray(contract.mean, np.float32)
        std = np.asarray(contract.std, np.float32)
        self._gain = (1.0 / (contract.scale * std)).astype(np.float32)[:, None, None]
        self._bias = (-mean / std).astype(np.float32)[:, None, None]

    def run(self, crops: Bytes) -> list[list[NDArray[Any]]]:
        """All outputs, in the graph's order, in the chunks they were computed in."""
        chunks = self._chunks(crops)
        pending = [self.engine.submit(self.feeds(self._filled(crops[rows]))) for rows in chunks]
        results = [one.result() for one in pending]
        return [
            [result[name][: rows.stop - rows.start] for name in self.engine.outputs]
            for rows, result in zip(chunks, results, strict=True)
        ]

    def run_whole(self, crops: Bytes) -> NDArray[Any]:
        """The same in one array, of an output whose shape is known but for its rows."""
        if self._rows > 1 and len(crops):
            place = list(self.engine.outputs).index(self.output.name)
            return np.concatenate([outputs[place] for outputs in self.run(crops)])
        chunks = self._chunks(crops)
        parts = (self.feeds(crops[rows]) for rows in chunks)
        return run_parts(self.engine, parts, chunks, [self.output.name])[0]

    def prepare(self, most: int) -> None:
        """Have the engine ready for up to so many crops at once, so that none waits for a compiler."""
        self.engine.prepare(self._rows if self._rows > 0 else min(most, self._step))

    def feeds(self, crops: Bytes) -> dict[str, NDArray[Any]]:
        """What the graph takes for RGB uint8 crops `[n, 3, height, width]`.

        Raises:
            EngineError: they are something else.
        """
        if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[1] != 3:
            raise EngineError(
                f"crops are RGB uint8 [n, 3, height, width], not {crops.dtype} {list(crops.shape)}: cut them "
                "out with the model's own `crop`"
            )
        return {self.input.name: self._normalise(crops)}

    def _filled(self, crops: Bytes) -> Bytes:
        """As many crops as a graph of a fixed batch takes: it is filled up with the last one."""
        missing = self._rows - len(crops)
        return np.concatenate([crops, crops[-1:].repeat(missing, axis=0)]) if missing > 0 else crops

    def _chunks(self, crops: Bytes) -> list[slice]:
        return self.engine.chunks(len(crops), self._step)

    def _normalise(self, crops: Bytes) -> NDArray[Any]:
        ordered = crops if self._colour == "rgb" else crops[:, ::-1]
        if self.input.dtype == "uint8":  # the engine makes floats of them, or the graph does
            return np.ascontiguousarray(ordered)
        return as_type(ordered * self._gain + self._bias, self.input.dtype)


def open_for_crops(
    graph: Path,
    contract: PixelContract,
    runtime: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
    *,
    cache: EngineCache | None = None,
    device: str | None = None,
) -> Engine:
    """Open the graph of a `CropNetwork`, whose engine makes floats of the pixels itself where it can.

    Raises:
        EngineError: it does not compile.
    """
    can_compile()  # the crops' native code now, so that no frame waits for it
    # A graph exported for one picture runs whole batches once its first dimension is opened.
    return open_engine(
        graph,
        runtime,
        precision,
        threads,
        cache=cache,
        device=device,
        free_batch=True,
        pixels=Pixels(contract.scale, contract.mean, contract.std),
        proven=contract.precisions,
        quantised=quantised_beside(graph, contract.int8),
    )
