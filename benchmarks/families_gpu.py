"""Every published size on a GPU: what float32 and half precision cost the embedding, and how fast they are.

    python -m benchmarks.families_gpu
    python -m benchmarks.families_gpu --sizes gaitbase deepgaitv2:p3d --runtime onnxruntime

Weights are random and references are PyTorch's in float32, on the CPU. Errors are relative, over drawn
windows of two lengths; a tracklet is 30 frames from host arrays to the embedding, the median of at least ten.
ONNX Runtime on a CPU rounds weights to half and computes in float32: only a GPU shows what half costs.
"""

from __future__ import annotations

import argparse
import pickle
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks.families import gap, usual_sizes
from gaitstream.bench.measure import time_ms
from gaitstream.bench.recognizer import TrackletWork
from gaitstream.engines.cache import EngineCache
from gaitstream.errors import GaitstreamError
from gaitstream.export.api import ExportOptions, Stored, write_bundle
from gaitstream.models.bundle import Bundle
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.spec import find_family
from gaitstream.models.trained import Case, Limits

PRECISIONS: tuple[Stored, ...] = ("fp32", "fp16")
CASE = "case.pickle"


def make(name: str, seed: int, root: Path) -> None:
    """Export one size and keep the windows to compare over beside it."""
    family, _, variant = name.partition(":")
    trained = find_family(family).random(seed, variant)
    root.mkdir()
    write_bundle(trained, root, ExportOptions(precisions=PRECISIONS))
    (root / CASE).write_bytes(pickle.dumps(trained.case()))


class Outcome(NamedTuple):
    """One size in one precision.

    Attributes:
        precision: as asked for.
        device: it ran on.
        error: relative, of the embedding.
        change: largest change of a distance between two windows, as a share of the mean distance.
        tracklet_ms: from host arrays to the embedding.
    """

    precision: str
    device: str
    error: float
    change: float
    tracklet_ms: float

    @property
    def allowed(self) -> bool:
        """Whether an export would keep it."""
        limits = Limits()
        return self.error <= limits.fp32 if self.precision == "fp32" else self.change <= limits.half


def results(root: Path, runtime: str, cache: EngineCache) -> Iterator[Outcome]:
    """Both precisions of one exported size."""
    bundle = Bundle.open(root)
    case: Case = pickle.loads((root / CASE).read_bytes())
    for precision in PRECISIONS:
        found = gap(bundle, case, runtime, precision, cache)
        model = Recognizer.load(root, runtime, precision, cache=cache)
        work = TrackletWork(model)
        times = time_ms(work.tracklet, repeats=10, warmup=3, min_total_s=0.3)
        device = model.engine.device
        yield Outcome(precision, device, found.relative, found.distance_change or 0.0, median(times))


def main() -> None:
    """Command line; ends with 1 where an error is larger than an export allows, or one did not run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", metavar="NAME", help="default: all but the largest")
    parser.add_argument("--seed", type=int, default=23)
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--processes", type=int, default=2, help="that export at a time (default: 2)")
    args = parser.parse_args()
    names = args.sizes or usual_sizes()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="gaitstream-families-") as folder:
        roots = {name: Path(folder) / name.replace(":", "-") for name in names}
        cache, started = EngineCache(Path(folder) / "cache"), time.monotonic()
        with ProcessPoolExecutor(args.processes, get_context("spawn")) as pool:
            for done in as_completed(
                pool.submit(make, name, args.seed, root) for name, root in roots.items()
            ):
                done.result()
        print(f"{len(names)} exported in {time.monotonic() - started:.0f} s")
        for name, root in roots.items():
            try:
                for one in results(root, args.runtime, cache):
                    bad += not one.allowed
                    print(
                        f"{name} {one.device} {one.precision}: error {one.error:.1e}, distances change by "
                        f"{one.change:.1e}{'' if one.allowed else ' (too much)'}, "
                        f"{one.tracklet_ms:.2f} ms a tracklet",
                        flush=True,
                    )
            except GaitstreamError as failure:
                bad += 1
                print(f"{name}: {failure}", flush=True)
    raise SystemExit(bad > 0)


if __name__ == "__main__":
    main()
