"""`gaitstream build` and `gaitstream doctor`, run as a user does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gaitstream.cli import main
from gaitstream.models.bundle import Bundle
from tests.engines.small_graphs import small_graph


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, compiled_kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "kernels").symlink_to(compiled_kernels)
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "160")
    return tmp_path / "cache" / "engines"


def test_builds_a_bundle_once_and_records_the_proof(
    gaitheat_bundle: Bundle, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "gaitheat"
    shutil.copytree(gaitheat_bundle.root, root)
    assert main(["build", str(root), "--runtime", "openvino", "--precision", "fp32"]) == 0
    first = capsys.readouterr().out
    assert "frame was built because there is none yet" in first
    assert len(list(cache.glob("*.engine"))) == 2
    assert main(["build", str(root), "--runtime", "openvino", "--precision", "fp32"]) == 0
    assert "in the cache" in capsys.readouterr().out
    engines = Bundle.open(root).parity()["engines"]
    roles = {name.split("/")[0] for name in engines}
    assert roles == {"frame", "head"}
    assert all(proof["half_share"] == 0 and proof["layers"]["fp32"] > 0 for proof in engines.values())


def test_compiles_for_a_gpu_that_is_not_here(
    gaitheat_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    root = tmp_path / "gaitheat"
    shutil.copytree(gaitheat_bundle.root, root)
    arguments = ["--runtime", "tensorrt-rtx", "--device", "sm_89", "--precision", "fp16", "--batch", "1,8,8"]
    assert main(["build", str(root), *arguments]) == 0
    out = capsys.readouterr().out
    assert "tensorrt-rtx, fp16, sm_89" in out
    engines = Bundle.open(root).parity()["engines"]
    assert engines["frame/tensorrt-rtx/sm_89/fp16"]["matrix_half_share"] == 1


def test_auto_takes_what_compiles_for_the_device_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = str(small_graph(tmp_path / "small.onnx"))
    assert main(["build", graph, "--device", "cpu"]) == 0
    assert "openvino is the best that compiles for it" in capsys.readouterr().out
    pytest.importorskip("tensorrt_rtx")
    assert main(["build", graph, "--device", "sm_89"]) == 0
    assert "tensorrt-rtx, fp32, sm_89" in capsys.readouterr().out


def test_builds_one_graph(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(small_graph(tmp_path / "small.onnx")), "--runtime", "openvino"]) == 0
    assert "0% of 1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "is not a model bundle"),
        (["small.onnx", "--batch", "9,1"], "is not MIN,OPT,MAX"),
        (["small.onnx", "--batch", ""], "is not MIN,OPT,MAX"),
        (["small.onnx", "--device", "sm_99"], "no runtime here compiles for 'sm_99' (tensorrt"),
        (["small.onnx", "--device", ""], "no runtime here compiles for '' (tensorrt"),
        (
            ["small.onnx", "--runtime", "openvino", "--device", "sm_89"],
            "compiles for 'cpu' here, not for 'sm_89'",
        ),
        (["small.onnx", "--runtime", "onnxruntime", "--device", "cuda"], "no CUDA provider that works here"),
        (["missing.onnx", "--runtime", "openvino"], "missing.onnx"),
    ],
)
def test_mistakes_are_explained(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    small_graph(tmp_path / "small.onnx")
    assert main(["build", *arguments]) == 1
    assert says in capsys.readouterr().err


def test_cache_that_cannot_be_kept_fails_a_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "file"))
    assert main(["build", str(small_graph(tmp_path / "small.onnx")), "--runtime", "openvino"]) == 1
    assert "set GAITSTREAM_CACHE to another folder" in capsys.readouterr().err


def test_doctor_says_what_works_and_what_auto_picks(
    gaitheat_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--bundle", str(gaitheat_bundle.root)]) == 0
    out = capsys.readouterr().out
    assert "✓  openvino" in out
    assert "auto picks" in out
    assert "because" in out
    assert main(["doctor", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    works = {one["name"]: one["works"] for one in data["runtimes"]}
    assert works["openvino"]
    assert works[data["auto"]["runtime"]]


def test_doctor_says_where_engines_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cache"]["trouble"] is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAITSTREAM_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("COLUMNS", "500")
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert f"! the engine cache {tmp_path / 'file' / 'engines'} cannot be written" in out
    assert "engines are kept in" not in out
    assert main(["doctor", "--json"]) == 0
    assert "set GAITSTREAM_CACHE" in json.loads(capsys.readouterr().out)["cache"]["trouble"]


def test_without_a_compiler_doctor_and_run_say_that_numpy_is_used(tmp_path: Path) -> None:
    environment = {**os.environ, "CXX": "no-such-compiler"}
    doctor = [sys.executable, "-m", "gaitstream", "doctor", "--json"]
    done = subprocess.run(doctor, env=environment, capture_output=True, text=True, check=False)
    kernels = json.loads(done.stdout)["kernels"]
    assert not kernels["compiled"]
    cams = tmp_path / "cams.yaml"
    cams.write_text(f"cameras:\n- {{id: a, url: '{tmp_path}/missing.mp4'}}\n")
    run = [sys.executable, "-m", "gaitstream", "run", "--cameras", str(cams), "--no-table"]
    done = subprocess.run(run, env=environment, capture_output=True, text=True, check=False)
    first = (done.stdout + done.stderr).splitlines()[0]
    assert first.endswith(kernels["said"])
    assert "numpy, far slower: no C++ compiler (CXX=no-such-compiler" in first


def test_doctor_fails_where_nothing_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("openvino", "onnxruntime", "tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["doctor"]) == 1
    assert "pip install openvino" in capsys.readouterr().out
