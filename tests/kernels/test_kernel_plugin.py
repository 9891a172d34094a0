"""The TensorRT plugin compiles, and the ONNX operator carries what it reads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from gaitstream.errors import KernelError
from gaitstream.kernels import onnx_op, plugin_library
from gaitstream.kernels.contract import AlignmentOptions
from gaitstream.kernels.recipe import SOURCES

PLUGIN = SOURCES.parent / "plugin"
OPTIONS = AlignmentOptions((tuple(range(11)), tuple(range(11, 17))), gamma_deg=20, small_angle="align")


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


HARNESS = r"""
namespace gaitstream {
cudaError_t launch_pgha(PghaParams, const std::vector<uint64_t>&, bool, cudaStream_t) { return cudaSuccess; }
}  // namespace gaitstream
using namespace gaitstream;
extern "C" nvinfer1::ILogger* getLogger() noexcept { return nullptr; }
extern "C" const char* cudaGetErrorString(cudaError_t) { return ""; }
int main() {
  PghaAttributes attributes;
  attributes.groups = {0, 1};
  attributes.group_sizes = {2};
  PghaPlugin plugin(attributes);
  const DataType given[2] = {DataType::kHALF, DataType::kFLOAT};
  DataType types[6];
  if (plugin.getOutputDataTypes(types, 6, given, 2)) return 1;
  for (const DataType type : types) {
    if (type == DataType::kBOOL || type == DataType::kUINT8) return 2;
  }
  if (types[0] != DataType::kHALF || types[2] != DataType::kFLOAT) return 3;
  DynamicPluginTensorDesc tensors[8] = {};
  for (int i = 0; i < 8; ++i) tensors[i].desc.format = TensorFormat::kLINEAR;
  tensors[0].desc.type = tensors[2].desc.type = DataType::kHALF;
  tensors[1].desc.type = DataType::kFLOAT;
  for (int i = 3; i < 8; ++i) {
    tensors[i].desc.type = DataType::kBOOL;
    if (plugin.supportsFormatCombination(i, tensors, 2, 6)) return 4;
    tensors[i].desc.type = DataType::kFLOAT;
    if (!plugin.supportsFormatCombination(i, tensors, 2, 6)) return 5;
  }
  return 0;
}
"""


def test_plugin_compiles_against_tensorrt(includes: list[str]) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-deprecated-declarations"]
    command = [compiler, "-std=c++17", "-fsyntax-only", *warnings, *includes, str(PLUGIN / "pgha_plugin.cpp")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def code_of(path: Path) -> str:
    """A C++ source without its comments."""
    return re.sub(r"//.*", "", path.read_text())


def test_no_output_has_a_type_that_plugins_may_not_output() -> None:
    """NvInferRuntime.h, IPluginV3OneBuild::getOutputDataTypes: kBOOL and kUINT8 are not supported."""
    assert not re.search(r"kBOOL|kUINT8", code_of(PLUGIN / "pgha_plugin.cpp"))
    onnx = pytest.importorskip("onnx")
    outputs = onnx_op.write_operator(OPTIONS).graph.output
    kinds = {one.name: one.type.tensor_type.elem_type for one in outputs}
    assert set(kinds.values()) == {onnx.TensorProto.FLOAT}


def test_the_library_registers_itself_when_it_is_opened_and_stays() -> None:
    """nvinfer opens a library, asks it for nothing and closes it again."""
    source = code_of(PLUGIN / "pgha_plugin.cpp")
    (constructor,) = re.findall(r"struct Registration \{(.*?)\n\} const registration;", source, re.DOTALL)
    assert "registerCreator(creator, kNamespace)" in constructor
    assert "getCreators" not in source  # a loader that calls it as well would register twice
    recipe = (PLUGIN / "CMakeLists.txt").read_text()
    assert '"LINKER:-z,nodelete"' in recipe
    assert re.search(r"find_library\(NVINFER .*REQUIRED\)", recipe)


def test_the_plugin_outputs_floats(includes: list[str], tmp_path: Path) -> None:
    """The class itself, asked as TensorRT asks it; only registering and launching are replaced."""
    source = (PLUGIN / "pgha_plugin.cpp").read_text()
    head, _, _ = source.partition("namespace {\n\n// nvinfer only opens")
    harness = tmp_path / "harness.cpp"
    harness.write_text(head + "}  // namespace gaitstream\n" + HARNESS)
    program = tmp_path / "harness"
    flags = ["-std=c++17", "-Wno-deprecated-declarations", *includes]
    done = subprocess.run(
        ["g++", *flags, harness, "-o", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert subprocess.run([program], check=False).returncode == 0


def test_the_library_is_found_where_it_was_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAITSTREAM_NATIVE", str(tmp_path))
    assert not plugin_library.load_if_there()
    with pytest.raises(KernelError, match=r"there is no .*libgaitstream_plugins\.so: compile it with"):
        plugin_library.load()
    (tmp_path / plugin_library.FILE).write_bytes(b"not a library")
    with pytest.raises(KernelError, match="does not load"):
        plugin_library.load_if_there()


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
        onnx_op.attributes(AlignmentOptions(((0,),), normalization="tracklet"))
