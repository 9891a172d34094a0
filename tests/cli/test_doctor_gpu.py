"""`doctor --gpu`: on a machine without one, nothing passes that a CPU did."""

from __future__ import annotations

import importlib.util
import json

import pytest

from gaitstream.cli import main
from gaitstream.engines import cuda, gpu_check
from gaitstream.errors import EngineError


def test_without_a_gpu_it_fails_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    if cuda.devices():
        pytest.skip("this machine has a GPU")
    assert main(["doctor", "--gpu", "--json"]) == 1
    checks = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert list(checks) == ["driver", "device", "tensorrt", "kernels", "plugin"]
    assert not any(one["passed"] for one in checks.values())
    assert "--gpus all" in checks["device"]["said"]


def test_it_picks_for_no_bundle(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--gpu", "--bundle", "gait"])
    assert "not allowed with argument --gpu" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.58.03  Release Build", "595.58.03"),
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.90.07  Fri May 31", "550.90.07"),
        ("", None),
    ],
)
def test_the_drivers_version_is_read(text: str, version: str | None) -> None:
    assert cuda.driver_version(text) == version


def test_an_old_driver_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "driver_version", lambda: "580.65.06")
    monkeypatch.setattr(gpu_check, "DEEPSTREAM", "zmq")  # a package that is installed
    with pytest.raises(EngineError, match=r"580.65.06 is too old: DeepStream 9.1 needs 595"):
        gpu_check.check_driver()
    monkeypatch.setattr(cuda, "driver_version", lambda: "595.58.03")
    assert gpu_check.check_driver() == "595.58.03"


def test_an_older_driver_does_where_deepstream_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "driver_version", lambda: "580.65.06")
    monkeypatch.setattr(gpu_check, "DEEPSTREAM", "no_such_package")
    assert gpu_check.check_driver() == "580.65.06, of which DeepStream 9.1 would need 595 or newer"


def test_tensorrt_rtx_is_tried_where_it_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    if cuda.devices():
        pytest.skip("this machine has a GPU")
    pytest.importorskip("tensorrt_rtx", reason="needs the extra [rtx]")
    own = importlib.util.find_spec
    monkeypatch.setattr(
        gpu_check, "find_spec", lambda name: None if name in ("tensorrt", "tensorrt_bindings") else own(name)
    )
    with pytest.raises(EngineError, match=r"tensorrt-rtx .* is installed, but there is no CUDA device"):
        gpu_check.check_tensorrt()
    assert "takes none" in gpu_check.check_plugin()
