"""Every call into software that needs a GPU is listed with the source it was checked against."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gaitstream.engines import onnxruntime, pycuda_device
from gaitstream.kernels import driver
from tests.engines.test_tensorrt_api import used_names

CHECKLIST = Path(__file__).resolve().parents[2] / "docs" / "gpu-checklist.md"
OURS = {
    "execution",
    "inputs",
    "outputs",
    "name",
    "dtype",
    "nbytes",
    "shape",
    "driver",
    "__version__",
    "qdqisint8allowed",
}
"""Names of our own engines, and attributes that need no source."""


def attributes(module: object, owner: str) -> set[str]:
    """Names asked of an object, by the variable that holds it."""
    path = getattr(module, "__file__", None)
    assert isinstance(path, str)
    return set(re.findall(rf"\b{owner}\.(\w+)", Path(path).read_text())) - OURS


PACKAGE = CHECKLIST.parents[1] / "gaitstream"
PLUGIN, PARSER = PACKAGE / "kernels" / "plugin", PACKAGE / "deepstream" / "parser"
STAND_INS = {"simulated.py", "simulated_tensorrt.py"}
"""What is written in the place of a GPU."""


def found(pattern: str, *files: Path) -> set[str]:
    """All that a pattern finds in some files."""
    return {name for file in files for name in re.findall(pattern, file.read_text())}


PYTHON = [file for file in PACKAGE.rglob("*.py") if file.name not in STAND_INS]
NATIVE = [*PLUGIN.glob("*.[ch]*"), *PARSER.glob("*.cpp")]


@pytest.mark.parametrize(
    ("library", "names"),
    [
        ("CUDA", found(r"\b(?:cu|cuda|nvrtc)[A-Z][A-Za-z]+(?:_v\d)?(?=[\"(])", *PYTHON)),
        ("NVRTC", found(r"\bnvrtc[A-Z]\w+", PACKAGE / "kernels" / "nvrtc.py")),
        ("CUDA in C++", found(r"\bcuda[A-Z][A-Za-z]+(?=\()", *NATIVE)),
        (
            "TensorRT in C++",
            found(
                r"\bIPluginV3\w*|\bIPluginCreator\w*|\b(?:get[A-Z]\w+|\w+)(?=\([^;{}]*override)",
                PLUGIN / "pgha_plugin.h",
            )
            | found(r"\bget(?:Logger|PluginRegistry)\b", *NATIVE),
        ),
        ("nvinfer in C++", found(r"\bNvDs\w+|\bCHECK_CUSTOM\w+", *NATIVE)),
        (
            "ONNX Runtime's sessions",
            attributes(onnxruntime, "ort")
            | attributes(onnxruntime, "session")
            | attributes(onnxruntime, "options"),
        ),
        ("TensorRT", used_names() - OURS | {"get_plugin_registry", "get_creator"}),
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
