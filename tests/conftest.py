"""Fixtures that several test packages use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from gaitstream.models.bundle import Bundle
from gaitstream.models.spec import find_family

SHARED = Path(os.environ.get("GAITSTREAM_SHARED", Path(__file__).resolve().parents[2] / "shared"))

COMPACT = Path(__file__).parent / "data" / "golden"
SEED = 11
"""Of the weights that the references were computed with."""


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
def biggait_bundle(biggait_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """BigGait with the golden weights as fp32 and fp16 graphs; sealed, not proved."""
    return _bundle("biggait", biggait_checkpoint, tmp_path_factory)


@pytest.fixture(scope="session")
def gaitheat_bundle(gaitheat_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """GaitHeat with the golden weights as fp32, fp16 and align graphs; sealed, not proved."""
    return _bundle("gaitheat", gaitheat_checkpoint, tmp_path_factory)


def _bundle(family: str, checkpoint: Path, factory: pytest.TempPathFactory) -> Bundle:
    from gaitstream.export.api import write_bundle

    root = factory.mktemp(family)
    write_bundle(find_family(family).load(checkpoint), root, sources=[checkpoint])
    return Bundle.open(root)


def _checkpoint(family: str, factory: pytest.TempPathFactory, necks: Mapping[str, tuple[int, ...]]) -> Path:
    """A checkpoint as training leaves it: with classifiers, an optimizer and an iteration."""
    torch = pytest.importorskip("torch", reason="exporting needs the extra [export]")
    state = find_family(family).random(SEED).module.state_dict()
    state = {**state, **{name: torch.zeros(shape) for name, shape in necks.items()}}
    path = factory.mktemp("checkpoints") / f"{family}.pt"
    torch.save({"model": state, "optimizer": {}, "scheduler": {}, "iteration": 80000}, path)
    return path
