"""The contract of every runtime and of the engines it opens."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from gaitstream.engines.device import Device, DeviceArray, DeviceStream
from gaitstream.engines.proof import Proof
from gaitstream.errors import EngineError

if TYPE_CHECKING:
    from gaitstream.engines.cache import ShapeCache

Array = NDArray[Any]
Feeds = Mapping[str, Array]

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "fp8")
Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Name, shape (-1 where dynamic) and numpy dtype name of one input or output."""

    name: str
    shape: tuple[int, ...]
    dtype: str

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape fits."""
        return len(shape) == len(self.shape) and all(
            want in (-1, have) for want, have in zip(self.shape, shape, strict=True)
        )


MOST_ROWS = 65_536
"""Of a batch: nobody has as many people at once, and some runtimes count elements in 32 bits."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Smallest, usual and largest batch an engine is compiled for."""

    min: int = 1
    opt: int = 16
    max: int = 64

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max:
            raise EngineError(
                f"batch {self.min},{self.opt},{self.max} is not usable: "
                "give MIN,OPT,MAX with 1 <= MIN <= OPT <= MAX, such as 1,16,64"
            )
        if self.max > MOST_ROWS:
            raise EngineError(
                f"batch {self.min},{self.opt},{self.max} is not usable: room is set aside for the largest, "
                f"which is at most {MOST_ROWS}"
            )

    @classmethod
    def parse(cls, text: str) -> Batch:
        """Read `MIN,OPT,MAX`, or one number for all three."""
        try:
            sizes = [int(part) for part in text.split(",")]
        except ValueError:
            sizes = []
        if len(sizes) == 1:
            sizes *= 3
        if len(sizes) != 3:
            raise EngineError(f"batch {text!r} is not MIN,OPT,MAX: give three whole numbers such as 1,16,64")
        return cls(*sizes)


class Progress(Protocol):
    """Where a build reports how far it is."""

    def __call__(self, phase: str, done: float) -> bool:
        """Report a phase and the fraction of it that is done; False asks the builder to stop."""
        ...


def no_progress(phase: str, done: float) -> bool:  # noqa: ARG001 - the protocol's names
    """A progress that nobody looks at."""
    return True


@dataclass(frozen=True, slots=True)
class Pixels:
    """How a graph's picture input is made of bytes: `(x / scale - mean) / std`, inside the engine.

    Attributes:
        scale: pixels are divided by this first.
        mean: per channel, in the order of the graph.
        std: likewise.
        interleaved: pictures come as `[n, height, width, 3]` and not as planes.
        swap: the graph wants the channels in the opposite order of that they come in.
    """

    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interleaved: bool = False
    swap: bool = False


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """What to compile, and for what.

    Attributes:
        graph: the ONNX file.
        precision: what the engine must compute in.
        device: the runtime's word for the target (`cpu`, `cuda:0`, `sm_89`); None is this machine's own.
        batch: sizes of the first dimension where the graph leaves it open.
        threads: CPU threads; None leaves it to the runtime.
        free_batch: open the first dimension of a graph that was exported for one batch size only.
        pixels: take the picture input as bytes, where the runtime can; see `open_engine`.
        for_once: it is called so seldom that no shape is worth compiling for.
        shapes: where what is compiled for single shapes is kept; None where it is not.
    """

    graph: Path
    precision: str
    device: str | None = None
    batch: Batch = field(default_factory=Batch)
    threads: int | None = None
    free_batch: bool = False
    pixels: Pixels | None = None
    for_once: bool = False
    shapes: ShapeCache | None = None


@dataclass(frozen=True, slots=True)
class Built:
    """A compiled engine as bytes (None where the runtime compiles on every load), and what it computes in."""

    blob: bytes | None
    proof: Proof


@dataclass(frozen=True, slots=True)
class Probe:
    """What a runtime found when it was asked whether it works here."""

    version: str
    device: str
    """Key of the device, part of the cache key: another device needs another engine."""
    description: str
    """The device in words."""
    accelerator: bool
    """Whether the device is a GPU."""
    precisions: tuple[str, ...]
    """What the device computes natively."""
    has_tiles: bool = False
    """Whether it is a CPU that multiplies matrices in tiles (AMX)."""


class Pending(Protocol):
    """An inference under way."""

    def result(self) -> dict[str, Array]:
        """Wait, and return the outputs by name in arrays of their own. May be called again.

        Raises:
            EngineError: the runtime failed.
        """
        ...


ROWS_ON_GPU = 64
"""Rows per inference on a GPU, where the engine sets no bound."""


class Done:
    """A `Pending` of a runtime that has no asynchronous call."""

    def __init__(self, outputs: dict[str, Array]) -> None:
        self._outputs = outputs

    def result(self) -> dict[str, Array]:
        """The outputs by name."""
        return self._outputs


class _Copied:
    """A `Pending` whose results are copied to where they are wanted."""

    def __init__(self, pending: Pending, wanted: Mapping[str, Array]) -> None:
        self._pending = pending
        self._wanted = wanted

    def result(self) -> dict[str, Array]:
        found = self._pending.result()
        for name, array in self._wanted.items():
            array[...] = found[name]
        return {**found, **self._wanted}


class Execution(Protocol):
    """One inference at a time, on arrays of the device."""

    @property
    def largest(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of every input and output at the largest that the engine was compiled for."""
        ...

    def enqueue(
        self, feeds: Mapping[str, DeviceArray], outputs: Mapping[str, DeviceArray], stream: DeviceStream
    ) -> None:
        """Queue an inference on a stream that may read the feeds and write the outputs by then.

        Raises:
            EngineError: a shape does not fit, or the runtime refuses.
        """
        ...

    def output_shapes(self, feeds: Mapping[str, tuple[int, ...]]) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the outputs for inputs of these shapes."""
        ...

    def free(self) -> None:
        """Give it back; calling it again does nothing."""
        ...


class Engine(ABC):
    """A compiled graph, ready to run; safe to use from several threads.

    Attributes:
        runtime: name of the runtime.
        precision: what it computes in: `fp32`, `fp16`, `bf16`, `int8` or `fp8`.
        device: the device in words.
        inputs: specification by input name.
        outputs: specification by output name.
        max_batch: largest first dimension it takes; None is any.
        on_device: where it takes and gives device arrays; None where it takes host arrays alone.
        scratch_bytes: device memory that one of its executions works in.
    """

    runtime: str
    precision: str
    device: str
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    max_batch: int | None = None
    on_device: Device | None = None
    scratch_bytes: int = 0

    def infer(self, feeds: Feeds) -> dict[str, Array]:
        """Run once and wait.

        Args:
            feeds: one array per input name, with the dtype and shape of its specification.

        Returns:
            Outputs by name, in arrays of their own.

        Raises:
            EngineError: an input is missing, unknown, of another dtype or shape, or the runtime failed.
        """
        return self.submit(feeds).result()

    @abstractmethod
    def submit(self, feeds: Feeds) -> Pending:
        """Start one inference; blocks only while all of the engine's slots are busy.

        The arrays in `feeds` must stay unchanged until `result()` has returned.
        """

    def submit_into(self, feeds: Feeds, outputs: Mapping[str, Array]) -> Pending:
        """`submit` with the results written into arrays of the caller's.

        Args:
            feeds: as for `submit`.
            outputs: by name, for some of the outputs or all: C-contiguous, of the results' shapes and types.
        """
        return _Copied(self.submit(feeds), outputs)

    def rows_at_once(self, on_cpu: int) -> int:
        """Rows per inference that suit the device.

        Args:
            on_cpu: what was measured best on a CPU, where more only take memory. A GPU is left idle by so
                few: there it is the most the engine was compiled for.
        """
        most = self.max_batch or max(on_cpu, ROWS_ON_GPU)
        return min(on_cpu, most) if self.device == "cpu" else most

    def chunks(self, rows: int, most: int) -> list[slice]:
        """How to feed so many rows, in order.

        Args:
            rows: there are.
            most: rows per inference, as `rows_at_once` says.
        """
        return [slice(start, min(start + most, rows)) for start in range(0, rows, most)]

    def prepare(self, most: int) -> None:  # noqa: B027 - most engines have nothing to prepare
        """Be ready for what `chunks` gives of any number of rows, so that no call waits for a compiler.

        Args:
            most: rows per inference, as for `chunks`.
        """

    def execution(self, scratch: DeviceArray | None = None) -> Execution:  # noqa: ARG002 - a host refuses
        """What runs inferences on arrays of `on_device`, one at a time; make one for every stream.

        Args:
            scratch: `scratch_bytes` or more of device memory to work in, which outlives the execution.
                Executions that never run at the same time, as those of one stream, may share it. None gives
                it memory of its own.

        Raises:
            EngineError: the runtime takes host arrays alone, or there is no room.
        """
        raise EngineError(f"{self.runtime} on {self.device} takes host arrays: use infer or submit")

    def infer_on_device(  # a host runtime refuses
        self,
        feeds: Mapping[str, Any],  # noqa: ARG002
        stream: DeviceStream | None = None,  # noqa: ARG002
    ) -> dict[str, DeviceArray]:
        """Queue one inference on arrays that lie on the device, and leave the outputs there.

        Args:
            feeds: one array per input name: a `DeviceArray`, or anything with DLPack or the CUDA array
                interface, such as a torch tensor.
            stream: where; None is a stream of the engine's own.

        Returns:
            Outputs by name, to be read on `stream`, elsewhere after their `ready`, or with `to_host`.

        Raises:
            EngineError: the runtime takes host arrays alone, or an input does not fit.
            KernelError: an input is not contiguous.
        """
        raise EngineError(f"{self.runtime} on {self.device} takes host arrays: use infer or submit")

    def named(self, feeds: Mapping[str, Any]) -> Mapping[str, TensorSpec]:
        """The inputs, where the feeds have their names.

        Raises:
            EngineError: they do not.
        """
        if feeds.keys() != self.inputs.keys():
            raise EngineError(f"the engine takes inputs {sorted(self.inputs)}, got {sorted(feeds)}")
        return self.inputs

    @abstractmethod
    def proof(self) -> Proof:
        """Precision of the layers as they really run, read back from the runtime."""

    @abstractmethod
    def close(self) -> None:
        """Free the engine; calling it again does nothing."""

    def check(self, feeds: Feeds) -> dict[str, Array]:
        """Feeds as C-contiguous arrays, in the order of the inputs.

        Raises:
            EngineError: a name, dtype or shape does not fit.
        """
        checked = {}
        for name, spec in self.named(feeds).items():
            array = feeds[name]
            if array.dtype != np.dtype(spec.dtype) or not spec.accepts(array.shape):
                raise EngineError(
                    f"input {name!r} takes {spec.dtype} {list(spec.shape)}, "
                    f"got {array.dtype} {list(array.shape)}"
                )
            if self.max_batch is not None and array.ndim and len(array) > self.max_batch:
                raise EngineError(
                    f"input {name!r} has batch {len(array)}, the engine was compiled for at most "
                    f"{self.max_batch}: build it with a larger --batch"
                )
            checked[name] = np.ascontiguousarray(array)
        return checked

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Runtime(Protocol):
    """One inference library."""

    name: str

    def probe(self, device: str | None = None, *, to_run: bool = True) -> Probe:
        """Check that the library is installed and has a device that works.

        Args:
            device: a target to compile for instead of this machine's own.
            to_run: engines are to run here, too, and not only to be compiled.

        Raises:
            MissingExtraError: the library is not installed, or what running its engines needs beside it.
            EngineError: it has no device it can use, or does not know `device`.
        """
        ...

    def build(self, request: BuildRequest, progress: Progress = no_progress) -> Built:
        """Compile a graph.

        Raises:
            EngineError: the graph cannot be compiled, or not in the precision asked for.
        """
        ...

    def load(self, request: BuildRequest, built: Built) -> Engine:
        """Make a built engine ready to run on this machine.

        Raises:
            RefusedEngineError: the bytes are damaged or belong to another version or device.
            EngineError: it cannot run here, built again or not.
        """
        ...


RuntimeFactory = Callable[[], Runtime]
