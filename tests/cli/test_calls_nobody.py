"""At the sockets: no command contacts anybody but the cameras and endpoints it is given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import pytest

from gaitstream.models.bundle import Bundle
from tests.sockets import STRACE, spoken_to, traced

pytestmark = pytest.mark.skipif(STRACE is None, reason="no strace here: apt-get install strace")


def contacted(command: list[str], folder: Path, *, code: int = 0) -> list[str]:
    """Addresses beyond this machine, and name servers anywhere, that a command and its children spoke to.

    Runs with a home of its own, in which it must leave nothing but gaitstream's cache. The first command that
    needs kernels compiles them, for all.
    """
    home, trace, cache = folder / "home", folder / "trace", folder / "engines"
    compiled = folder.parent / "kernels"
    for made in (home, cache, compiled):
        made.mkdir(parents=True, exist_ok=True)
    (cache / "kernels").symlink_to(compiled)
    done = subprocess.run(
        traced(command, trace),
        capture_output=True, text=True, timeout=570, check=False, cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if name != "CI"},
            "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"),
            "GAITSTREAM_CACHE": str(cache),
        },
    )  # fmt: skip
    assert done.returncode == code, done.stderr[-3000:]
    assert [path for path in home.rglob("*") if "gaitstream" not in str(path.relative_to(home))] == []
    return spoken_to(trace)


def gaitstream(*words: str) -> list[str]:
    return [sys.executable, "-m", "gaitstream", *words]


def site(folder: Path, runtime: str) -> Path:
    path = folder / "cams.yaml"
    path.write_text(
        "cameras:\n- {id: a, url: 'synth://plaza?camera=1&seconds=2&width=320&height=180'}\n"
        "models: {detector: demo, pose: demo, gaitheat: demo}\n"
        f"runtime: {{name: {runtime}}}\nevents: {{endpoint: 'tcp://127.0.0.1:0'}}\n"
    )
    return path


def test_a_call_is_noticed(tmp_path: Path) -> None:
    """What the other tests rest on: this machine is left out, everything else is seen, also from a child."""
    inner = "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'', ('192.0.2.7', 9))"
    outer = (
        f"import subprocess, sys, socket; subprocess.run([sys.executable, '-c', {inner!r}]);"
        "s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('127.0.0.1', 9)); s.connect(('127.0.0.1', 53))"
    )
    assert contacted([sys.executable, "-c", outer], tmp_path) == ["192.0.2.7:9", "127.0.0.1:53"]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_run_speaks_to_its_cameras_alone(runtime: str, tmp_path: Path) -> None:
    if runtime == "onnxruntime":
        pytest.importorskip("onnxruntime", reason="needs the extra [ort]")
    cams = site(tmp_path, runtime)
    command = gaitstream("run", "--cameras", str(cams), "--no-table", "--metrics-port", "0")
    assert contacted(command, tmp_path) == []


@pytest.mark.slow
def test_worker_processes_speak_to_the_cameras_alone(tmp_path: Path) -> None:
    cams = site(tmp_path, "openvino")
    cams.write_text(cams.read_text().replace("models:", "- {id: b, url: 'synth://yard?seconds=1'}\nmodels:"))
    command = gaitstream("run", "--cameras", str(cams), "--no-table", "--workers", "2")
    assert contacted(command, tmp_path) == []


def test_doctor_speaks_to_nobody(tmp_path: Path) -> None:
    assert contacted(gaitstream("doctor"), tmp_path) == []


LIBRARIES = ("openvino", "onnxruntime", "tensorrt_rtx", "torch", "trackers", "av")


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[list[str]]]]:
    """Whom each library speaks to, also from a thread some time after the import."""
    folder = tmp_path_factory.mktemp("imports")
    wait = "import time; time.sleep(6)"

    def watch(module: str) -> list[str]:
        return contacted([sys.executable, "-c", f"import gaitstream, {module}; {wait}"], folder / module)

    with ThreadPoolExecutor(len(LIBRARIES)) as pool:  # they only wait
        yield {module: pool.submit(watch, module) for module in LIBRARIES if find_spec(module)}


@pytest.mark.parametrize("module", LIBRARIES)
def test_no_library_reports_its_use(module: str, imports: dict[str, Future[list[str]]]) -> None:
    if module not in imports:
        pytest.skip(f"{module} is not installed")
    assert imports[module].result() == []


@pytest.mark.slow
def test_building_for_tensorrt_rtx_speaks_to_nobody(gaitheat_bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")
    root = shutil.copytree(gaitheat_bundle.root, tmp_path / "bundle")  # a build is noted in its bundle
    options = ("--runtime", "tensorrt-rtx", "--device", "sm_89", "--precision", "fp16")
    assert contacted(gaitstream("build", str(root), *options), tmp_path) == []


@pytest.mark.slow
def test_an_export_speaks_to_nobody(gaitheat_checkpoint: Path, tmp_path: Path) -> None:
    options = ("--checkpoint", str(gaitheat_checkpoint), "--out", str(tmp_path / "bundle"))
    assert contacted(gaitstream("export", "gaitheat", *options), tmp_path) == []
