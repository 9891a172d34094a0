"""Every name the TensorRT code uses exists in the bindings of TensorRT 11 and of TensorRT-RTX.

The bindings of TensorRT cannot be imported without NVIDIA's libraries, but their names stand in the module.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import pytest

from gaitstream.engines import kept_kernels, tensorrt_build, tensorrt_run

OWNERS = {
    "trt",
    "builder",
    "network",
    "config",
    "parser",
    "profile",
    "tensor",
    "inspector",
    "engine",
    "context",
}
FIELDS = {"_engine", "_runtime", "_context"}
"""Variables and fields that hold TensorRT's objects."""
OURS = {"push", "pop"}
"""The methods of CUDA contexts, which one field of that name holds."""
FALLBACKS = {"__name__"}
RTX_ONLY = {
    "ComputeCapability", "num_compute_capabilities", "set_compute_capability",
    "create_runtime_cache", "set_runtime_cache", "deserialize",
}  # fmt: skip
"""Compiling for a GPU that is not at hand, which TensorRT's probe refuses to be asked for; and keeping the
kernels that are compiled where an engine runs, which is asked for where the library has `IRuntimeCache`."""


def used_names() -> set[str]:
    names = set()
    for module in (tensorrt_build, tensorrt_run, kept_kernels):
        assert module.__file__ is not None
        for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
            if not isinstance(node, ast.Attribute):
                continue
            value = node.value
            owner = value.id if isinstance(value, ast.Name) else getattr(value, "attr", "")
            if owner in OWNERS | FIELDS or (isinstance(value, ast.Attribute) and value.attr[:1].isupper()):
                names.add(node.attr)
    return names - OURS - FALLBACKS


@pytest.mark.parametrize("package", ["tensorrt_bindings", "tensorrt_rtx_bindings"])
def test_names_exist_in_the_bindings(package: str) -> None:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    (library,) = Path(spec.origin).parent.glob("tensorrt*.so")
    binary = library.read_bytes()
    names = used_names()
    assert {"execute_async_v3", "set_tensor_address", "build_serialized_network", "OnnxParser"} <= names
    missing = {name for name in names if name.encode() not in binary}
    # nptype is written in Python beside the module.
    missing -= {name for name in missing if f"def {name}(".encode() in Path(spec.origin).read_bytes()}
    assert missing <= (RTX_ONLY if package == "tensorrt_bindings" else set())
