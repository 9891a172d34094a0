"""Rows of the alignment suite."""

from __future__ import annotations

import pytest

from gaitstream.bench.pgha import least_bytes, to_row


def test_a_row_is_time_and_rate_of_a_frame_beside_its_floor() -> None:
    moved = least_bytes(16, 4)
    assert moved == 16 * 64 * 48 * 20 * 4
    row = to_row("ours", 16, [2.0, 4.0, 3.0], moved, 10.0)
    assert (row.contender, row.setting) == ("ours", {"frames": 16})
    assert row.figures["per frame"].median == pytest.approx(3000 / 16)
    assert row.figures["rate"].median == pytest.approx(moved / 3e6)
    assert row.floor == {"per frame": pytest.approx(moved / 16 / 10 / 1e3)}
