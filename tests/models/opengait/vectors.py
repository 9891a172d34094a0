"""The reference vectors of the OpenGait families, where `../shared` has them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gaitstream.models.inputs import NAMES
from gaitstream.models.manifest import InputContract, InputKind, Manifest
from gaitstream.models.silhouettes import network_input
from tests.conftest import SHARED

FOLDER = SHARED / "golden" / "opengait"
MODELS = (
    "gaitbase", "deepgaitv2_2d", "deepgaitv2_2d_deep", "deepgaitv2_p3d", "deepgaitv2_p3d_deep",
    "deepgaitv2_3d", "skeletongait", "skeletongaitpp", "gaitset", "gaitpart", "gaitpart_grew", "gaitgl",
    "gaitgl_oumvlp", "gaitgl_bnneck", "multigaitpp", "gaittr", "gaitgraph2", "biggergait_group", "biggergait",
)  # fmt: skip
FAMILY = {name: name.partition("_")[0] for name in MODELS}
"""The family that a reference model belongs to."""
LIMIT = 1e-5
"""Largest relative error of an embedding in float32."""
Array = NDArray[Any]


def checker() -> ModuleType:
    """The vectors' own module for weights and cases; skips where they are absent."""
    if not FOLDER.is_dir():
        pytest.skip(f"the reference vectors of the OpenGait families are not at {FOLDER}")
    if "opengait_check" not in sys.modules:
        sys.path.insert(0, str(FOLDER))
        try:
            spec = importlib.util.spec_from_file_location("opengait_check", FOLDER / "check.py")
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            sys.modules["opengait_check"] = module
        finally:
            sys.path.remove(str(FOLDER))
    return sys.modules["opengait_check"]


def write_checkpoint(name: str, path: Path) -> Path:
    """A checkpoint as OpenGait saves it, with the vectors' weights."""
    state = {key: torch.from_numpy(value) for key, value in checker().weights(name).items()}
    torch.save({"model": state, "optimizer": {}, "scheduler": {}}, path)
    return path


def cases(name: str) -> Iterator[tuple[str, list[Array], Array]]:
    """Label, stored arrays of one sequence, and its embedding `[parts, dim]`."""
    check = checker()
    for label, arrays, wanted in check.cases(check.load(name), name):
        yield label, arrays, wanted.T


def feeds(manifest: Manifest, arrays: list[Array]) -> dict[str, Array]:
    """Stored arrays as the graphs' inputs, a row per frame."""
    return {
        NAMES[contract.kind]: _row(contract, array)
        for contract, array in zip(manifest.inputs, arrays, strict=True)
    }


def _row(contract: InputContract, stored: Array) -> Array:
    if contract.kind in (InputKind.CROP, InputKind.JOINTS):
        return stored
    return network_input(stored[:, None] if contract.kind is InputKind.SILHOUETTE else stored)


def relative_error(found: Array, wanted: Array) -> float:
    """Norm of the difference over that of the reference."""
    return float(np.linalg.norm(found.astype(np.float64) - wanted) / np.linalg.norm(wanted))
