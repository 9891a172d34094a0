"""A gallery scanned on a device, beside the same on the CPU: equal decisions, and only changes are copied.

The device is simulated: its work runs beside the host and dawdles, so that a wait that is missing shows as
another result; copies and bytes are counted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from gaitstream.engines.simulated import SimulatedDevice, SimulatedEvent
from gaitstream.errors import KernelError
from gaitstream.gallery import mirror, table_mirror
from gaitstream.gallery.people import Nearest, People
from gaitstream.gallery.quantise import Layout, Probes
from gaitstream.gallery.scan import coarse_distances
from gaitstream.gallery.table import TemplateTable
from gaitstream.gallery.table_mirror import AT_ONCE, TableMirror

Floats = NDArray[np.float32]
MODEL = "gait"
LAYOUT = Layout(3, 70)
STRIDE = LAYOUT.record.itemsize


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gaitstream.gallery.people.FEW", 0)
    monkeypatch.setattr(mirror, "WORTH", 40)
    monkeypatch.setattr(table_mirror, "WORTH", 40)
    monkeypatch.setattr(table_mirror, "STAGED", 64)
    monkeypatch.setattr(table_mirror, "LATE", 30)
    monkeypatch.setattr(table_mirror, "SCAN_BLOCK_ROWS", 256)
    monkeypatch.setattr("gaitstream.kernels.host.SCAN_BLOCK_ROWS", 256)
    monkeypatch.setattr("gaitstream.kernels.scan.SCAN_BLOCK_ROWS", 256)
    monkeypatch.setattr(mirror, "PAUSE_S", 0.005)


@pytest.fixture
def device() -> Iterator[SimulatedDevice]:
    made = SimulatedDevice(seed=3, delay_s=2e-3)
    yield made
    made.close()


def walks(seed: int, count: int) -> Floats:
    """Some as near to each other as float32 can tell apart."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, LAYOUT.parts, LAYOUT.dim))
    near = rng.random(count) < 0.3
    values[near] = values[:1] + values[near] * rng.choice([0, 1e-7, 1e-6, 1e-4], (int(near.sum()), 1, 1))
    return values.astype(np.float32)


def filled(count: int) -> tuple[People, TemplateTable]:
    """Two templates a person."""
    table = TemplateTable.create(LAYOUT)
    table.add(range(1, count + 1), [row // 2 for row in range(count)], walks(1, count))
    people = People(tables={MODEL: table}, has={MODEL: set(range(count // 2))})
    return people, table


def on(people: People, device: SimulatedDevice) -> People:
    """The same gallery, scanned on a device."""
    other = People(tables=people.tables, has=people.has)
    other.scan_on(device)
    assert other.mirror is not None
    return other


def mirrored(people: People) -> TableMirror:
    assert people.mirror is not None
    return people.mirror._mirrors[MODEL]


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.002)


def up_to_date(people: People) -> None:
    """Wait until the device has everything; the first search begins it."""
    people.search(MODEL, list(walks(9, 1)))
    until(lambda: mirrored(people).is_current)


def same(found: list[Nearest], expected: list[Nearest]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.persons, other.persons)
        np.testing.assert_array_equal(one.low, other.low)
        np.testing.assert_array_equal(one.high, other.high)
        assert one.floor == other.floor


def test_searches_equal_those_on_the_cpu_while_the_gallery_changes(device: SimulatedDevice) -> None:
    """At every moment: before the device has anything, while it catches up, and afterwards; ties too."""
    people, table = filled(300)
    on_device = on(people, device)
    rng, number = np.random.default_rng(0), 1000
    for turn in range(12):
        probes = [*walks(50 + turn, 1 + 2 * turn), *walks(1, 300)[turn : turn + 2]]
        same(on_device.search(MODEL, probes), people.search(MODEL, probes))
        if turn == 3:
            up_to_date(on_device)
        count = int(rng.integers(1, 40))
        table.add(range(number, number + count), [number] * count, walks(number, count))
        number += count
        table.drop(rng.choice(300, 2, replace=False).tolist())
    up_to_date(on_device)
    assert device.traffic.launches > 0
    same(on_device.search(MODEL, probes), people.search(MODEL, probes))
    on_device.close()


def test_rows_that_are_not_there_yet_are_compared_on_the_cpu(device: SimulatedDevice) -> None:
    """Bit for bit, in passes of 16 probes, over two pieces of memory."""
    _, table = filled(300)
    one = TableMirror(table, device, device.kernels())
    probes = Probes.of(LAYOUT, np.concatenate([walks(4, 35), walks(1, 300)[:2]]))
    assert one.distances(300, probes) is None
    one.sync()
    table.add(range(1000, 1020), [200] * 20, walks(5, 20))
    table.drop([3, 290])
    expected = coarse_distances(LAYOUT, table.rows[: table.count], probes)
    found = one.distances(table.count, probes)
    assert found is not None
    np.testing.assert_array_equal(found, expected)
    assert np.isinf(found[:, [3, 290]]).all()
    assert device.traffic.launches == 3
    one.sync()
    found = one.distances(table.count, probes)
    assert found is not None
    np.testing.assert_array_equal(found, expected)
    table.add(range(1100, 1140), [201] * 40, walks(6, 40))
    assert one.distances(table.count, probes) is None  # too many: all on the CPU
    one.close()


def test_only_what_has_changed_is_copied(device: SimulatedDevice) -> None:
    people, table = filled(100)
    on_device = on(people, device)
    up_to_date(on_device)
    traffic = device.traffic
    assert (traffic.uploads, traffic.upload_bytes) == (2, 100 * STRIDE)
    people_there = on_device.search(MODEL, list(walks(7, 3)))
    asked = 3 * LAYOUT.parts * (2 * LAYOUT.width + 8)
    assert (traffic.uploads, traffic.upload_bytes) == (3, 100 * STRIDE + asked)
    assert (traffic.downloads, traffic.download_bytes) == (1, 3 * 100 * 4)
    same(people_there, people.search(MODEL, list(walks(7, 3))))
    before = traffic.upload_bytes
    table.add([500], [60], walks(5, 1))
    table.drop([7, 8, 40])
    until(lambda: mirrored(on_device).is_current)
    assert traffic.upload_bytes - before == 4 * STRIDE
    memory = traffic.memory_bytes
    table.add(range(600, 1000), [61] * 400, walks(6, 400))  # more pieces; those that are there stay
    until(lambda: mirrored(on_device).is_current)
    assert traffic.upload_bytes - before == 404 * STRIDE
    assert traffic.memory_bytes - memory == 256 * STRIDE + AT_ONCE * 256 * 4
    on_device.close()
    assert traffic.memory_bytes == 0


def test_what_is_erased_is_gone_from_the_device(device: SimulatedDevice) -> None:
    """Without a search or anything else that asks for it, and when the device is let go of."""
    people, table = filled(100)
    on_device = on(people, device)
    up_to_date(on_device)
    one = mirrored(on_device)
    assert one._room is not None
    block = one._room.blocks[0].take("rows", 1).pointer
    there = device.view(block, 100 * STRIDE).reshape(100, STRIDE)
    np.testing.assert_array_equal(there, table.rows[:100].view(np.uint8).reshape(100, STRIDE))
    table.drop([7, 41])
    until(lambda: one.is_current)
    digits = LAYOUT.parts * LAYOUT.width
    assert not there[[7, 41], :digits].any()
    np.testing.assert_array_equal(there, table.rows[:100].view(np.uint8).reshape(100, STRIDE))
    assert not one._staged.any()
    on_device.close()
    assert not there.any()


def test_a_wait_that_is_left_out_is_noticed(device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    people, _ = filled(100)
    on_device = on(people, device)
    up_to_date(on_device)
    monkeypatch.setattr(SimulatedEvent, "synchronize", lambda self: None)
    probes = Probes.of(LAYOUT, walks(4, 5))
    found = mirrored(on_device).distances(100, probes)
    assert found is not None
    table = people.tables[MODEL]
    assert not np.array_equal(found, coarse_distances(LAYOUT, table.rows[:100], probes))
    monkeypatch.undo()
    on_device.close()


def test_small_galleries_stay_on_the_cpu(device: SimulatedDevice) -> None:
    people, table = filled(20)
    on_device = on(people, device)
    same(on_device.search(MODEL, list(walks(2, 2))), people.search(MODEL, list(walks(2, 2))))
    assert device.traffic.memory_bytes == 0
    table.add(range(100, 130), [90] * 30, walks(3, 30))
    up_to_date(on_device)
    same(on_device.search(MODEL, list(walks(2, 2))), people.search(MODEL, list(walks(2, 2))))
    assert device.traffic.launches == 1
    on_device.close()


@pytest.mark.parametrize("rows", [0, 300])
def test_a_device_without_room_is_told_once(rows: int, caplog: pytest.LogCaptureFixture) -> None:
    """At once, or when the gallery has outgrown it: the CPU goes on, and the memory is given back."""
    small = SimulatedDevice(room=rows * (STRIDE + AT_ONCE * 4) + 20_000)
    people, table = filled(100)
    on_device = on(people, small)
    probes = list(walks(2, 3))
    with caplog.at_level(logging.WARNING):
        for turn in range(20):
            same(on_device.search(MODEL, probes), people.search(MODEL, probes))
            table.add(range(turn * 50 + 200, turn * 50 + 250), [90] * 50, walks(turn, 50))
            time.sleep(0.02)
    assert on_device.mirror is not None
    assert on_device.mirror.has_failed
    [told] = caplog.messages
    assert "scanned on the CPU from now on" in told
    assert "has no room" in told
    assert (small.traffic.launches > 0) is (rows > 0)
    until(lambda: small.traffic.memory_bytes == 0)
    on_device.close()
    small.close()


def test_a_gallery_that_was_replaced_is_mirrored_anew(device: SimulatedDevice) -> None:
    people, table = filled(100)
    on_device = on(people, device)
    up_to_date(on_device)
    memory = device.traffic.memory_bytes
    table.drop(range(100))
    _, other = filled(60)
    on_device.tables[MODEL] = people.tables[MODEL] = other
    up_to_date(on_device)
    until(lambda: device.traffic.memory_bytes == memory)
    same(on_device.search(MODEL, list(walks(2, 2))), people.search(MODEL, list(walks(2, 2))))
    on_device.close()


def test_a_device_without_our_kernels_leaves_the_gallery_to_the_cpu(
    device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse() -> None:
        raise KernelError("nothing to compile with")

    monkeypatch.setattr(device, "kernels", refuse)
    people, _ = filled(4)
    people.scan_on(device)
    assert people.mirror is None
    assert "scanned on the CPU" in caplog.text
    assert people.search(MODEL, list(walks(2, 1)))
