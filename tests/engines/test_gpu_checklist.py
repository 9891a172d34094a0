"""Every call into software that needs a GPU is listed with the source it was checked against."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gaitstream.engines import onnxruntime, pycuda_device
from gaitstream.kernels import driver
from tests.engines.test_tensorrt_api import used_names

CHECKLIST = Path(__file__).resolve().parents[2] / "docs" / "gpu-checklist.md"
OURS = {"execution", "inputs", "outputs", "name", "dtype", "shape", "driver"}
"""Names of our own engines, and attributes that need no source."""


def attributes(module: object, owner: str) -> set[str]:
    """Names asked of an object, by the variable that holds it."""
    path = getattr(module, "__file__", None)
    assert isinstance(path, str)
    return set(re.findall(rf"\b{owner}\.(\w+)", Path(path).read_text())) - OURS


@pytest.mark.parametrize(
    ("library", "names"),
    [
        ("TensorRT", used_names() - OURS),
        ("PyCUDA", attributes(pycuda_device, "_?cuda") | attributes(pycuda_device, "own")),
        ("driver", set(re.findall(r'"(cu[A-Z]\w+)"', Path(str(driver.__file__)).read_text()))),
        ("ONNX Runtime", attributes(onnxruntime, "binding") | {"preload_dlls", "get_providers", "use_tf32"}),
    ],
)
def test_every_call_has_its_source(library: str, names: set[str]) -> None:
    rows = [line for line in CHECKLIST.read_text().splitlines() if line.startswith("|")]
    listed = set(re.findall(r"\w+", " ".join(rows)))
    assert len(names) >= 3
    assert names - listed == set(), library
    assert all(len(row.strip("|").split("|")) == 3 for row in rows)
