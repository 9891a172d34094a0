"""Float32 graphs of every published size against their PyTorch modules, with weights of many seeds.

    python -m benchmarks.families --seeds 23,5,99
    python -m benchmarks.families --sizes gaitbase deepgaitv2:p3d
    python -m benchmarks.families --sizes biggait:L --seeds 1

A line per size and seed: the relative error of the embedding on each runtime, over drawn
windows of two lengths.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gaitstream.bench.compare_models import sizes
from gaitstream.engines.base import Precision
from gaitstream.engines.cache import EngineCache
from gaitstream.export.api import ExportOptions, write_bundle
from gaitstream.export.compare import Distance, measure
from gaitstream.export.running import BundleRunner
from gaitstream.models.bundle import Bundle
from gaitstream.models.spec import find_family
from gaitstream.models.trained import Case, Limits

RUNTIMES = ("openvino", "onnxruntime")
LARGE = ("biggait:L", "biggergait:block")
"""Minutes each: measured only where they are named."""


def usual_sizes() -> list[str]:
    """All but the largest."""
    return [one for one in sizes() if one not in LARGE]


def gap(bundle: Bundle, case: Case, runtime: str, precision: Precision, cache: EngineCache) -> Distance:
    """A bundle's embeddings of the case's windows beside its module's."""
    runner = BundleRunner(bundle, runtime, precision, cache)
    found = runner.embed(case.feeds, case.sequences).embedding
    return measure(found, case.embedding, embedding=True)


def errors(name: str, seed: int) -> Iterator[tuple[str, float]]:
    """Relative error of the embedding by runtime."""
    family, _, variant = name.partition(":")
    trained = find_family(family).random(seed, variant)
    case = trained.case()
    with tempfile.TemporaryDirectory(prefix="gaitstream-families-") as folder:
        root = Path(folder) / "bundle"
        root.mkdir()
        bundle = Bundle(root, write_bundle(trained, root, ExportOptions(precisions=("fp32",))))
        for runtime in RUNTIMES:
            yield runtime, gap(bundle, case, runtime, "fp32", EngineCache(Path(folder) / "cache")).relative


def main() -> None:
    """Command line; ends with 1 where an error is larger than an export allows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", metavar="NAME", help="default: all but the largest")
    parser.add_argument("--seeds", default="23,5,99", help="separated by commas (default: %(default)s)")
    args = parser.parse_args()
    worst = 0.0
    for name in args.sizes or usual_sizes():
        for seed in map(int, args.seeds.split(",")):
            started = time.monotonic()
            found = dict(errors(name, seed))
            worst = max(worst, *found.values())
            each = ", ".join(f"{runtime} {error:.1e}" for runtime, error in found.items())
            print(f"{name} seed {seed}: {each} ({time.monotonic() - started:.0f} s)", flush=True)
    limit = Limits().fp32
    print(f"largest relative error {worst:.1e}, allowed {limit:.0e}")
    raise SystemExit(worst > limit)


if __name__ == "__main__":
    main()
