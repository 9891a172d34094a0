"""The gallery's benchmark where it needs a device."""

from __future__ import annotations

import sys

import pytest

from gaitstream.bench import gallery, recognizer
from gaitstream.bench.gallery import match_on_gpu
from gaitstream.bench.process import ContenderError
from gaitstream.bench.result import Row
from gaitstream.bench.settings import Settings
from gaitstream.engines import cuda
from gaitstream.engines.simulated import SimulatedDevice
from gaitstream.errors import EngineError


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitstream.gallery.people.FEW", 0)
    for module in ("mirror", "table_mirror"):
        monkeypatch.setattr(f"gaitstream.gallery.{module}.WORTH", 100)


def test_matching_on_a_device_is_measured_there_and_exact() -> None:
    device = SimulatedDevice()
    [row] = match_on_gpu(100, device)
    assert row.contender == "match, GPU"
    assert row.figures["recall"].median == 1.0
    assert min(row.figures[name].median for name in ("probe", "of a batch", "scan")) > 0
    assert device.traffic.launches > 30
    assert device.traffic.memory_bytes == 0
    device.close()


def test_a_gpu_that_is_demanded_and_not_there_is_no_pass() -> None:
    with pytest.raises(EngineError, match="--device cuda needs an NVIDIA GPU"):
        gallery.run(Settings(quick=True, device="cuda"))


def test_a_gpu_that_fails_is_not_left_out_where_it_is_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    def contender(function: object, arguments: object) -> list[Row]:
        if function is match_on_gpu:
            raise ContenderError("Traceback\nEngineError: it has no room")
        return []

    monkeypatch.setattr(gallery, "run_contender", contender)
    monkeypatch.setattr(cuda, "devices", lambda: [cuda.CudaDeviceInfo(0, "small", "sm_75")])
    with pytest.raises(EngineError, match="the GPU cannot be measured: EngineError: it has no room"):
        gallery.run(Settings(quick=True, device="cuda"))
    assert gallery.run(Settings(quick=True)).rows == []


def test_a_gpu_is_compared_with_the_gpus_own_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT's engines say the GPU's name and not `cuda`: their floor was the CPU's."""
    asked: list[str] = []

    def cpu_rate(precision: str) -> float:
        asked.append(precision)
        return 1.0

    class Torch:
        float32 = None

        def randn(self, *_: int, device: str, dtype: object) -> object:
            asked.append(device)
            raise RuntimeError("there is none")

    monkeypatch.setattr(recognizer, "matrix_rate_gflops", cpu_rate)
    monkeypatch.setitem(sys.modules, "torch", Torch())
    assert recognizer.rate_gflops("fp32", "cpu") == 1.0
    for name in ("cuda:0", SimulatedDevice().name):
        with pytest.raises(RuntimeError):
            recognizer.rate_gflops("fp32", name)
    assert asked == ["fp32", "cuda", "cuda"]


def test_a_gallery_that_does_not_fit_is_not_measured_on_the_cpu() -> None:
    device = SimulatedDevice(room=10_000_000)
    with pytest.raises(EngineError, match="does not fit the GPU"):
        match_on_gpu(100, device)
    device.close()
