"""The TensorRT plugin compiles, and the ONNX operator carries what it reads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gaitstream.errors import KernelError
from gaitstream.kernels import onnx_op
from gaitstream.kernels.build import SOURCES
from gaitstream.kernels.contract import Options

PLUGIN = SOURCES.parent / "plugin"
OPTIONS = Options((tuple(range(11)), tuple(range(11, 17))), gamma_deg=20, small_angle="align")


@pytest.fixture(scope="module")
def includes() -> list[str]:
    folder = Path(os.environ.get("TENSORRT_INCLUDE", "/usr/include/x86_64-linux-gnu"))
    if not (folder / "NvInfer.h").is_file():
        pytest.skip(f"no NvInfer.h in {folder} (set TENSORRT_INCLUDE)")
    roots = [Path(os.environ.get("CUDA_HOME", "/usr/local/cuda")), *Path("/usr/local").glob("cuda-*")]
    headers = [root / "include" for root in roots if (root / "include" / "cuda_runtime_api.h").is_file()]
    if not headers:
        pytest.skip("no CUDA toolkit for cuda_runtime_api.h (set CUDA_HOME)")
    return [f"-I{SOURCES}", f"-I{PLUGIN}", "-isystem", str(headers[0]), "-isystem", str(folder)]


def test_plugin_compiles_against_tensorrt(includes: list[str]) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations"]
    command = [compiler, "-std=c++17", "-fsyntax-only", *warnings, *includes, str(PLUGIN / "pgha_plugin.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_operator_carries_what_the_plugin_reads() -> None:
    source = (PLUGIN / "pgha_plugin.cpp").read_text()
    described = set(re.findall(r'^      \{"(\w+)", ', source, re.MULTILINE))
    sent = onnx_op.attributes(OPTIONS)
    assert described == {name for name in sent if not name.startswith("plugin_")}
    assert f'kName[] = "{onnx_op.OPERATOR}"' in source
    assert f'kNamespace[] = "{sent["plugin_namespace"]}"' in source
    assert f'kVersion[] = "{sent["plugin_version"]}"' in source


def test_operator_is_a_valid_model() -> None:
    onnx = pytest.importorskip("onnx")
    for keypoints in (True, False):
        model = onnx_op.write_operator(OPTIONS, keypoints=keypoints, half=True)
        onnx.checker.check_model(model)
        (node,) = model.graph.node
        assert (node.domain, node.op_type) == ("gaitstream", "PGHA")
        assert len(node.input) == 1 + keypoints
        values = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
        assert values["groups"] == list(range(17))
        assert values["group_sizes"] == [11, 6]
        assert (values["gamma_deg"], values["align_small"]) == (20, 1)


def test_tracklet_normalisation_is_refused() -> None:
    with pytest.raises(KernelError, match="not 'tracklet'"):
        onnx_op.attributes(Options(((0,),), normalization="tracklet"))
