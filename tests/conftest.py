"""Fixtures that several test packages use."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from gaitstream.models.bundle import Bundle
from gaitstream.models.spec import find_family

SHARED = Path(os.environ.get("GAITSTREAM_SHARED", Path(__file__).resolve().parents[2] / "shared"))

Once = Callable[[str, Callable[[Path], object]], Path]
"""Fills a folder of a name unless that was done, and gives it."""
COMPACT = Path(__file__).parent / "data" / "golden"
SEED = 11
"""Of the weights that the references were computed with."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first, so that none of them is waited for at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that other users may look into: pytest closes its own ones, at the start of any session."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data at {SHARED} (set GAITSTREAM_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def golden() -> Path:
    """References of the published implementations: the full set, or the repository's compact one."""
    return SHARED / "golden" if (SHARED / "golden").is_dir() else COMPACT


@pytest.fixture(scope="session")
def biggait_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """BigGait with the weights of the references (seed 11), saved as OpenGait does."""
    return _checkpoint("biggait", tmp_path_factory, {"gait_net.BNNecks.fc_bin": (16, 256, 100)})


@pytest.fixture(scope="session")
def gaitheat_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GaitHeat with the weights of the references (seed 11), saved as FastPoseGait does."""
    necks = {f"BNNecks_{branch}.fc_bin": (16, 256, 74) for branch in ("part", "global", "fusion")}
    return _checkpoint("gaitheat", tmp_path_factory, necks)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of the test run have in common."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def _one_cache(run_folder: Path) -> Iterator[None]:
    """Engines and kernels are built once for all tests, and not into the user's cache.

    Python's bytecode is kept, too: hundreds of processes would each compile the package for most of a second.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        patch.setenv("GAITSTREAM_CACHE", str(run_folder / "gaitstream"))
        yield


@pytest.fixture(scope="session")
def compiled_kernels(run_folder: Path) -> Path:
    """Where the kernels of the test run are compiled, once: a test with a cache of its own links them in."""
    folder = run_folder / "gaitstream" / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def once(run_folder: Path) -> Once:
    """A folder that is filled once for all processes of the test run, to be read by all of them."""

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        done = run_folder / "once" / name
        done.parent.mkdir(exist_ok=True)
        with FileLock(done.with_name(f"{name}.lock")):
            if not done.exists():
                part = done.with_name(f"{name}.part")
                part.mkdir()
                fill(part)
                part.rename(done)
        return done

    return folder


@pytest.fixture(scope="session")
def biggait_bundle(biggait_checkpoint: Path, once: Once) -> Bundle:
    """BigGait with the golden weights as fp32 and fp16 graphs; sealed, not proved."""
    return _bundle("biggait", biggait_checkpoint, once)


@pytest.fixture(scope="session")
def gaitheat_bundle(gaitheat_checkpoint: Path, once: Once) -> Bundle:
    """GaitHeat with the golden weights as fp32, fp16 and align graphs; sealed, not proved."""
    return _bundle("gaitheat", gaitheat_checkpoint, once)


def _bundle(family: str, checkpoint: Path, once: Once) -> Bundle:
    from gaitstream.export.api import write_bundle

    def fill(root: Path) -> None:
        write_bundle(find_family(family).load(checkpoint), root, sources=[checkpoint])

    return Bundle.open(once(family, fill))


@pytest.fixture(scope="session")
def family_bundle(once: Once) -> Callable[[str], Bundle]:
    """A published OpenGait model as fp32 graphs, with the weights of the reference vectors where they are.

    Without them a family's plainest model has random weights.
    """
    pytest.importorskip("torch", reason="exporting needs the extra [export]")
    from gaitstream.export.api import ExportOptions, write_bundle
    from gaitstream.models.graphs.checkpoint import recognise_checkpoint
    from tests.models.opengait.vectors import FAMILY, FOLDER, write_checkpoint

    def fill(name: str, root: Path) -> None:
        if FOLDER.is_dir():
            with tempfile.TemporaryDirectory() as folder:
                checkpoint = write_checkpoint(name, Path(folder) / f"{name}.pt")
                model = recognise_checkpoint(checkpoint).load(checkpoint)
        else:
            model = find_family(FAMILY[name]).random(SEED)
        write_bundle(model, root, ExportOptions(precisions=("fp32",)))

    return lambda name: Bundle.open(once(f"opengait-{name}", partial(fill, name)))


def _checkpoint(family: str, factory: pytest.TempPathFactory, necks: Mapping[str, tuple[int, ...]]) -> Path:
    """A checkpoint as training leaves it: with classifiers, an optimizer and an iteration."""
    torch = pytest.importorskip("torch", reason="exporting needs the extra [export]")
    state = find_family(family).random(SEED).module.state_dict()
    state = {**state, **{name: torch.zeros(shape) for name, shape in necks.items()}}
    path = factory.mktemp("checkpoints") / f"{family}.pt"
    torch.save({"model": state, "optimizer": {}, "scheduler": {}, "iteration": 80000}, path)
    return path
