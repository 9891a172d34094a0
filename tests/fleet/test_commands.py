"""`gaitstream fleet` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gaitstream.cli import build_parser, main
from gaitstream.events import Journal, Publisher, TrackStarted
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.directory import Served, register
from gaitstream.fleet.leases import Leases, WorkerIdentity
from gaitstream.fleet.load import Load

CAMS = """\
cameras: [{id: gate, url: "rtsp://10.0.0.5/1"}, {id: yard, url: "rtsp://10.0.0.6/1"}]
fleet: {key: none}
"""


@pytest.fixture
def up(fleet_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FleetDatabase:
    """A fleet with a site of two cameras."""
    monkeypatch.setenv("GAITSTREAM_FLEET", fleet_url)
    monkeypatch.setenv("COLUMNS", "140")
    (tmp_path / "cams.yaml").write_text(CAMS)
    assert main(["fleet", "up", "--cameras", str(tmp_path / "cams.yaml")]) == 0
    return FleetDatabase(fleet_url)


def add_worker(database: FleetDatabase) -> WorkerIdentity:
    leases = Leases(database)
    worker = leases.begin(WorkerIdentity("gpu-1-0", "gpu-1", "j"), 8)
    leases.take(worker, 8, leases.totals())
    leases.renew(worker, 8, {}, Load(fps=29.5, lag_ms=120, people=3))
    return worker


def test_status_shows_who_has_what_and_who_is_gone(
    up: FleetDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", "status"]) == 0
    assert "2 wait for a worker (gate, yard; longest" in capsys.readouterr().out
    worker = add_worker(up)
    main(["fleet", "status"])
    shown = capsys.readouterr().out
    assert "gpu-1-0" in shown
    assert "alive" in shown
    assert "gate, yard" in shown
    assert "120 ms" in shown
    assert "2 cameras are read, 0 wait" in shown
    Leases(up).end(worker)
    main(["fleet", "status", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["workers"][0]["state"] == "left"
    assert told["waiting"].keys() == {"gate", "yard"}


def test_drain_is_told_to_the_worker_and_undone(
    up: FleetDatabase, capsys: pytest.CaptureFixture[str]
) -> None:
    add_worker(up)
    assert main(["fleet", "drain", "gpu-1"]) == 0
    main(["fleet", "status"])
    assert "draining" in capsys.readouterr().out
    assert main(["fleet", "drain", "gpu-1", "--undo"]) == 0
    assert up.rows("SELECT * FROM fleet.draining") == []
    assert main(["fleet", "drain", "gpu-2"]) == 2
    assert "'gpu-2' is no node of this fleet; there are: gpu-1" in capsys.readouterr().err


def test_down_wants_no_camera_and_up_wants_them_again(up: FleetDatabase, tmp_path: Path) -> None:
    assert main(["fleet", "down"]) == 0
    assert up.rows("SELECT count(*) FROM fleet.camera WHERE wanted") == [(0,)]
    assert main(["fleet", "up", "--cameras", str(tmp_path / "cams.yaml")]) == 0
    assert up.rows("SELECT count(*) FROM fleet.camera WHERE wanted") == [(2,)]


def test_a_command_without_a_fleet_asks_for_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("GAITSTREAM_FLEET", raising=False)
    assert main(["fleet", "status"]) == 2
    assert "set GAITSTREAM_FLEET" in capsys.readouterr().err


def test_a_whole_fleet_is_watched(
    up: FleetDatabase, fleet_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        with Publisher(Journal(tmp_path / name), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as publisher:
            register(up, Served.of(publisher, name, "", None))
    with (
        Publisher(Journal(tmp_path / "a"), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as first,
        Publisher(Journal(tmp_path / "b"), "tcp://127.0.0.1:0", "tcp://127.0.0.1:0") as second,
    ):
        for publisher in (first, second):
            register(up, Served.of(publisher, "again", "", None))
            publisher.publish(TrackStarted(time_ns=1, camera="gate", track=1))
        words = ["events", "tail", "--fleet", fleet_url, "--beginning", "--count", "2"]
        assert main(words) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()[-2:]]
    assert len({line["publisher"] for line in told}) == 2


def test_the_runner_of_a_fleet_is_not_run_without_a_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cams.yaml").write_text(CAMS)
    code = main(["run", "--cameras", str(tmp_path / "cams.yaml"), "--runner", "fleet", "--no-table"])
    assert code == 1
    assert "gaitstream worker --fleet URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--capacity", "nan", "'nan' is not a positive number"),
        ("--capacity", "-1", "'-1' is not a positive number"),
        ("--slot", "-1", "'-1' is not a whole number from 0"),
        ("--label", "north gate", "'north gate' is no label"),
        ("--node", "../elsewhere", "'../elsewhere' is no name of a machine"),
        ("--node", "..", "'..' is no name of a machine"),
        ("--node", "", "'' is no name of a machine"),
        ("--node", "a\nb", "is no name of a machine"),
    ],
)
def test_what_a_worker_cannot_be_is_refused(
    option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args(["worker", f"{option}={value}"])
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_machines_are_called_what_hosts_pods_and_ray_nodes_are_called() -> None:
    for node in ("gpu-1", "gpu-1.example.org", "10.0.0.5", "fe80::1", "site-gaitstream-0", "größe"):
        assert build_parser().parse_args(["worker", "--node", node]).node == node
