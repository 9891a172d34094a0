"""A graph that OpenVINO has compiled, asynchronous; compiled again for the batches that come often.

With shapes that are known OpenVINO fuses more, keeps to the layout of its convolutions and writes results
where they are wanted: small networks run 1.1 to 1.5 times as fast. Such a graph costs 10 to 30 MB and 50 ms.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from gaitstream.engines.base import Array, Engine, Feeds, Pending, TensorSpec
from gaitstream.engines.fixed_shapes import FixedShapes, Shapes
from gaitstream.engines.openvino_answers import last_line, port_shape, prove_compiled
from gaitstream.engines.proof import Proof
from gaitstream.engines.slots import NOWHERE, SlotPool
from gaitstream.errors import EngineError

if TYPE_CHECKING:
    import openvino as ov


class OpenVinoEngine(Engine):
    """A compiled OpenVINO model with a few infer requests that take turns.

    Args:
        compiled: takes every shape.
        precision: what it computes in.
        compile_for: compiles the same graph for one shape of its inputs; None where it allows none.
        fixed: most shapes to compile for.
    """

    runtime = "openvino"

    def __init__(
        self,
        compiled: ov.CompiledModel,
        precision: str,
        compile_for: Callable[[Shapes], ov.CompiledModel | None],
        fixed: int,
    ) -> None:
        self._compiled: ov.CompiledModel | None = compiled
        self.precision = precision
        self.device = "cpu"
        self.inputs = {port.get_any_name(): spec_of(port) for port in compiled.inputs}
        self.outputs = {port.get_any_name(): spec_of(port) for port in compiled.outputs}
        self._compile_for = compile_for
        self._any_shape = self._slots(compiled)
        is_open = all(spec.shape[:1] == (-1,) for spec in self.inputs.values())
        self._fixed = FixedShapes(self._fix, SlotPool.close, fixed if is_open else 0, self._is_usual)
        self._sizes = UsualSizes()
        self._last = self._any_shape
        self._lock = threading.Lock()

    def submit(self, feeds: Feeds) -> Pending:
        """Start on an idle infer request; when there is none, the oldest inference is finished first."""
        return self.submit_into(feeds, NOWHERE)

    def submit_into(self, feeds: Feeds, outputs: Mapping[str, Array]) -> Pending:
        """`submit`; where a graph was compiled for the shape it writes to these arrays itself."""
        checked = self.check(feeds)
        shapes = tuple(array.shape for array in checked.values())
        with self._lock:
            slots = self._fixed.get(shapes) or self._any_shape
            if slots is not self._last:
                # Each has threads of its own: two at once would get into each other's way.
                self._last.settle()
                self._last = slots
            return slots.submit(checked, outputs)

    def chunks(self, rows: int, most: int) -> list[slice]:
        """Powers of two after the full ones, or what always comes: few sizes, each has its graph."""
        chunks = super().chunks(rows, most)
        if self._fixed.most and rows % most and not self._sizes.is_usual(rows % most):
            last = chunks.pop()
            chunks += powers_of_two(last.start, last.stop)
        return chunks

    def prepare(self, most: int) -> None:
        """Compile for powers of two up to `most`, and for that; from then on for others beside the calls."""
        specs = self.inputs.values()
        sizes = {most, *(1 << power for power in range(most.bit_length()))}
        expected = [tuple((rows, *spec.shape[1:]) for spec in specs) for rows in sorted(sizes, reverse=True)]
        has_one_shape = all(-1 not in spec.shape[1:] for spec in specs)
        with self._lock:
            self._fixed.prepare(expected if has_one_shape else [])

    def proof(self) -> Proof:
        """Counts over the runtime model's executed precisions."""
        if self._compiled is None:
            raise EngineError("the engine is closed")
        return prove_compiled(self._compiled)

    def close(self) -> None:
        """Finish what runs, then drop the requests and the models."""
        with self._lock:
            self._any_shape.close()
            self._fixed.clear()
            self._compiled = None

    def _is_usual(self, shapes: Shapes) -> bool:
        rows = shapes[0][0]
        return rows in self._sizes.usual or (rows > 0 and rows & (rows - 1) == 0)

    def _fix(self, shapes: Shapes) -> SlotPool | None:
        compiled = self._compile_for(shapes) if self._compiled is not None else None
        return None if compiled is None else self._slots(compiled)

    def _slots(self, compiled: ov.CompiledModel) -> SlotPool:
        streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # One more than run at once, so that the next feeds are in place when a stream falls free.
        return SlotPool([_Request(compiled, list(self.outputs)) for _ in range(streams + 1)])


class UsualSizes:
    """Which numbers of rows come so often that they are not worth cutting up: the frames of a window, say."""

    LEAST, SHARE = 8, 0.5

    def __init__(self) -> None:
        self.usual: set[int] = set()
        self._asked: Counter[int] = Counter()

    def is_usual(self, rows: int) -> bool:
        """Whether so many have come often; counts them."""
        self._asked[rows] += 1
        often = self._asked[rows]
        if often >= self.LEAST and often >= self.SHARE * self._asked.total():
            self.usual.add(rows)
        return rows in self.usual


def powers_of_two(start: int, stop: int) -> list[slice]:
    """A range in slices whose lengths are powers of two, the longest first."""
    slices = []
    while start < stop:
        length = 1 << (stop - start).bit_length() - 1
        slices.append(slice(start, start + length))
        start += length
    return slices


def spec_of(port: ov.ConstOutput) -> TensorSpec:
    """Of an input or output."""
    dtype = np.dtype(port.get_element_type().to_dtype()).name
    return TensorSpec(port.get_any_name(), port_shape(port), dtype)


class _Request:
    """An infer request and the names of its outputs."""

    def __init__(self, compiled: ov.CompiledModel, names: list[str]) -> None:
        self._request: ov.InferRequest | None = compiled.create_infer_request()
        self._specs = dict(zip(names, map(spec_of, compiled.outputs), strict=True))
        self._is_fixed = all(-1 not in spec.shape for spec in self._specs.values())
        self._into: dict[str, Array] = {}

    def start(self, feeds: dict[str, Array], into: Mapping[str, Array]) -> None:
        request = self._infer()
        self._into = dict(into)
        try:
            if self._is_fixed:
                self._place(request)
            request.start_async(feeds, share_inputs=True)
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {last_line(error)}") from error

    def wait(self) -> dict[str, Array]:
        request = self._infer()
        found, self._into = self._into, {}
        try:
            request.wait()
            if self._is_fixed:
                return found
            for index, name in enumerate(self._specs):
                there = request.get_output_tensor(index).data
                if name in found:
                    found[name][...] = there
                else:
                    found[name] = np.array(there)
            return found
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {last_line(error)}") from error

    def free(self) -> None:
        self._request = None

    def _place(self, request: ov.InferRequest) -> None:
        """Have results written where they are wanted."""
        import openvino as ov

        for index, (name, spec) in enumerate(self._specs.items()):
            if name not in self._into:
                self._into[name] = np.empty(spec.shape, spec.dtype)
            request.set_output_tensor(index, ov.Tensor(self._into[name], shared_memory=True))

    def _infer(self) -> ov.InferRequest:
        if self._request is None:
            raise EngineError("the engine is closed")
        return self._request
