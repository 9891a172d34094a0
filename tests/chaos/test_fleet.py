"""A small fleet under attack; `python -m benchmarks.fleet_chaos` does the same for longer."""

from __future__ import annotations

import pytest

from benchmarks.fleet_chaos import MOST_ORPHANED_S, is_twice, run_chaos
from gaitstream.events import TrackStarted
from gaitstream.fleet.local_server import can_run


@pytest.mark.slow
def test_no_camera_is_read_twice_or_orphaned_and_no_event_is_lost_or_doubled() -> None:
    if not can_run():
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    outcome = run_chaos(nodes=3, cameras=6, rounds=1, outage_s=6.0, seed=5)
    assert outcome.twice == []
    assert (outcome.missing, outcome.doubled) == (0, 0)
    assert outcome.orphaned_s <= MOST_ORPHANED_S
    assert outcome.cameras == 6
    assert sum(outcome.actions.values()) == 4
    assert outcome.moves >= 6, "the database was away: every camera was taken anew"


def test_two_holders_at_a_time_are_noticed() -> None:
    def spoke(*leases: int) -> bool:
        return is_twice(
            [TrackStarted(time_ns=n, camera="a", track=1, lease=one) for n, one in enumerate(leases)]
        )

    assert not spoke(1, 1, 4, 9)
    assert spoke(1, 4, 1)
