"""Fixtures that several test packages use."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import pytest

from gaitstream.models.bundle import Bundle
from gaitstream.models.spec import find_family

SHARED = Path(os.environ.get("GAITSTREAM_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the checkout; tests that need it skip without it."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data at {SHARED} (set GAITSTREAM_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """The numerical references of the published implementations."""
    return shared / "golden"


@pytest.fixture(scope="session")
def golden_weights(golden: Path) -> ModuleType:
    """The module that regenerates the synthetic weights of the golden vectors."""
    spec = importlib.util.spec_from_file_location("golden_weights", golden / "weights.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def biggait_checkpoint(
    golden: Path, golden_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """BigGait with the golden weights (seed 11), saved as OpenGait does."""
    return _checkpoint("biggait", golden, golden_weights, tmp_path_factory)


@pytest.fixture(scope="session")
def gaitheat_checkpoint(
    golden: Path, golden_weights: ModuleType, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """GaitHeat with the golden weights (seed 11), saved as FastPoseGait does."""
    return _checkpoint("gaitheat", golden, golden_weights, tmp_path_factory)


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


def _checkpoint(model: str, golden: Path, weights: ModuleType, factory: pytest.TempPathFactory) -> Path:
    torch = pytest.importorskip("torch", reason="exporting needs the extra [export]")
    spec = json.loads((golden / f"{model}_spec.json").read_text())
    state = {name: torch.tensor(array) for name, array in weights.make_state_dict(spec, 11).items()}
    path = factory.mktemp("checkpoints") / f"{model}.pt"
    torch.save({"model": state, "optimizer": {}, "scheduler": {}, "iteration": 80000}, path)
    return path
