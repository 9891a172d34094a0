"""What lower precisions do to decisions, over models with weights from many seeds.

    python benchmarks/half_precision.py biggait --out out/half/biggait.jsonl

A row per seed and runtime: the relative error of features and embedding, the largest change of a distance
between two sequences, and the share of gallery pairs that keep their order. Rows in --out already are kept.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from gaitstream.engines.base import Precision
from gaitstream.engines.cache import EngineCache
from gaitstream.export.api import write_bundle
from gaitstream.export.compare import measure
from gaitstream.export.running import BundleRunner
from gaitstream.models.bundle import Bundle
from gaitstream.models.spec import find_family
from gaitstream.models.trained import Limits

SEEDS = "1,2,3,4,5,6,7,8,9,10,11,12,13,23,31,42,47,64,77,99"
RUNS: tuple[tuple[str, Precision], ...] = (
    ("onnxruntime", "fp32"),
    ("onnxruntime", "fp16"),
    ("openvino", "bf16"),
)
LIMITS = {"fp32": Limits().fp32, "fp16": Limits().half, "bf16": Limits().bfloat}


class SeedRow(msgspec.Struct, frozen=True):
    """One model on one runtime against its PyTorch module."""

    family: str
    seed: int
    runtime: str
    precision: str
    features: float
    embedding: float
    centred: float
    distances: float
    order: float

    @property
    def holds(self) -> bool:
        """Whether an export would keep the precision."""
        value = self.embedding if self.precision == "fp32" else self.distances
        return value <= LIMITS[self.precision]


def measure_seed(family: str, seed: int) -> Iterator[SeedRow]:
    """Write a model's graphs and run them."""
    trained = find_family(family).random(seed)
    case = trained.case()
    with tempfile.TemporaryDirectory(prefix="gaitstream-half-") as folder:
        root = Path(folder) / "bundle"
        root.mkdir()
        bundle = Bundle(root, write_bundle(trained, root))
        for runtime, precision in RUNS:
            runner = BundleRunner(bundle, runtime, precision, EngineCache(Path(folder) / "cache"))
            found = runner.embed(case.feeds, case.sequences, keep_features=True)
            features = measure(found.features["features"], case.features["features"])
            embedding = measure(found.embedding, case.embedding, embedding=True)
            yield SeedRow(
                family,
                seed,
                runtime,
                precision,
                features.relative,
                embedding.relative,
                embedding.centred_relative or 0.0,
                embedding.distance_change or 0.0,
                embedding.order_kept or 0.0,
            )


def table(rows: list[SeedRow]) -> str:
    """The rows as a table in Markdown, a line per seed, and how many hold."""
    titles = [f"{p}: features | embedding | distances | order" for _, p in RUNS[1:]]
    lines = [f"| seed | {' | '.join(titles)} |", "| --- " * (1 + 4 * len(titles)) + "|"]
    lower = [row for row in rows if row.precision != "fp32"]
    lines += [
        f"| {seed} | {' | '.join(cells(row) for row in lower if row.seed == seed)} |"
        for seed in sorted({row.seed for row in rows})
    ]
    return "\n".join([*lines, "", *(summary(rows, precision) for _, precision in RUNS)])


def cells(row: SeedRow) -> str:
    """Four cells of the table."""
    return f"{row.features:.1e} | {row.embedding:.1e} | {row.distances:.2%} | {row.order:.1%}"


def summary(rows: list[SeedRow], precision: str) -> str:
    """How many seeds hold in one precision, and the largest errors."""
    mine = [row for row in rows if row.precision == precision]
    return (
        f"{precision}: holds for {sum(row.holds for row in mine)} of {len(mine)}; largest relative error of "
        f"the embedding {max(row.embedding for row in mine):.1e}, change of a distance "
        f"{max(row.distances for row in mine):.2%}"
    )


def main() -> None:
    """Measure what is not in the file yet, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("family", help="a model family that makes random weights: biggait, gaitheat")
    parser.add_argument("--seeds", default=SEEDS, help="separated by commas (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="rows as lines of JSON")
    args = parser.parse_args()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    lines = args.out.read_bytes().splitlines() if args.out.is_file() else []
    rows = [msgspec.json.decode(line, type=SeedRow) for line in lines]
    for seed in map(int, args.seeds.split(",")):
        if seed in {row.seed for row in rows}:
            continue
        new = list(measure_seed(args.family, seed))
        rows += new
        with args.out.open("ab") as file:
            file.writelines(msgspec.json.encode(row) + b"\n" for row in new)
        print(f"seed {seed}: {', '.join(f'{row.precision} {row.embedding:.1e}' for row in new)}", flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()
