"""The precision proof: what the layers of a compiled engine compute in, read back from the engine."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import msgspec

from gaitstream.errors import EngineError

HALF = frozenset({"fp16", "bf16"})
INT8 = "int8"
LEAST_SHARE = {INT8: 0.25, "fp8": 0.25}
"""Share of the convolutions and matrix products that must run in a precision asked for, where it is not half.
Layers that eight bits disturb stay in floating point on purpose, and the products of attention may."""


ADVICE = {
    "bf16": "has no graphs of its own: use fp16 (export with --precision fp16)",
    "fp16": "needs graphs typed in it (export with --precision fp16)",
    INT8: "needs quantised graphs (export with --precision int8 --calibration FILE)",
    "fp8": "needs quantised graphs (export with --precision fp8 --calibration FILE)",
}
"""What a precision needs, for the message that it did not come out."""


class Layer(msgspec.Struct, frozen=True):
    """One layer of a compiled engine.

    Attributes:
        name: the runtime's name of it.
        precision: `fp32`, `fp16`, `bf16`, `int8` or another type name, as it runs.
        matrix: whether it is a convolution or matrix product, which is where the time goes.
    """

    name: str
    precision: str
    matrix: bool


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of layers by precision.

    Attributes:
        source: where the layers were read.
        layers: number of computing layers by precision; copies, constants and shape arithmetic do not count.
        matrix_layers: the same for convolutions and matrix products alone.
        note: what a reader must know to judge the counts.
    """

    source: str
    layers: dict[str, int]
    matrix_layers: dict[str, int]
    note: str = ""

    @property
    def half_share(self) -> float:
        """Fraction of computing layers that run in fp16 or bf16, 0 when there are none."""
        return _share(self.layers, HALF)

    @property
    def matrix_half_share(self) -> float:
        """Fraction of convolutions and matrix products that run in fp16 or bf16, 0 when there are none."""
        return _share(self.matrix_layers, HALF)

    @property
    def matrix_int8_share(self) -> float:
        """Fraction of convolutions and matrix products that run in eight-bit integers."""
        return _share(self.matrix_layers, {INT8})

    def summary(self) -> str:
        """One line for people."""
        count = sum(self.layers.values())
        matrix = sum(self.matrix_layers.values())
        eight = f", {self.matrix_int8_share:.0%} in int8" if INT8 in self.matrix_layers else ""
        return (
            f"{self.half_share:.0%} of {count} layers and {self.matrix_half_share:.0%} of {matrix} "
            f"convolutions and matrix products run in half precision{eight} ({self.source})"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `parity.json`."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        shares = {"half_share": self.half_share, "matrix_half_share": self.matrix_half_share}
        return {**plain, **shares, "matrix_int8_share": self.matrix_int8_share}


def prove(layers: Iterable[Layer], source: str, note: str = "") -> Proof:
    """Count layers into a proof."""
    counts: dict[str, int] = {}
    matrix: dict[str, int] = {}
    for layer in layers:
        counts[layer.precision] = counts.get(layer.precision, 0) + 1
        if layer.matrix:
            matrix[layer.precision] = matrix.get(layer.precision, 0) + 1
    return Proof(source=source, layers=counts, matrix_layers=matrix, note=note)


def require(proof: Proof, precision: str, graph: str) -> None:
    """Check that an engine came out in the precision it was asked for.

    At least half of the convolutions and matrix products (of all layers, where there are none) must run in
    `precision`, or what `LEAST_SHARE` says; a half-precision graph keeps its norms and softmax in fp32 on
    purpose.

    Raises:
        EngineError: it came out in another precision.
    """
    if precision == "fp32":
        return
    counts = proof.matrix_layers or proof.layers
    total = sum(counts.values())
    if counts.get(precision, 0) < LEAST_SHARE.get(precision, 0.5) * max(total, 1):
        found = ", ".join(f"{count} in {name}" for name, count in sorted(counts.items())) or "no layers"
        raise EngineError(
            f"{graph} was to be built in {precision} and came out otherwise ({found}, read from "
            f"{proof.source}): {precision} {ADVICE[precision]}, or build in fp32"
        )


def _share(counts: dict[str, int], precisions: Collection[str]) -> float:
    total = sum(counts.values())
    return sum(count for name, count in counts.items() if name in precisions) / total if total else 0.0
