"""The gallery's benchmark where it needs a device."""

from __future__ import annotations

import pytest

from gaitstream.bench.gallery import match_on_gpu
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


def test_a_gallery_that_does_not_fit_is_not_measured_on_the_cpu() -> None:
    device = SimulatedDevice(room=10_000_000)
    with pytest.raises(EngineError, match="does not fit the GPU"):
        match_on_gpu(100, device)
    device.close()
