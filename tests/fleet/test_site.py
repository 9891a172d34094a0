from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gaitstream.config.places import WorkerPlace
from gaitstream.errors import FleetError
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.site import SiteDocument, SiteStore, SiteWatcher, at_place

KEY = base64.b64encode(bytes(range(32))).decode()
CAMS = """\
cameras:
  - {id: gate, url: "rtsp://user:${PASSWORD}@10.0.0.5/1"}
  - {id: north-door, url: "rtsp://10.0.0.6/1"}
  - {id: attic, url: "rtsp://10.0.0.7/1", enabled: false}
fleet: {key: "env:KEY_OF_THE_TEST", capacity: 6, placement: [{cameras: "north-*", labels: [north]}]}
"""


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SiteDocument:
    monkeypatch.setenv("KEY_OF_THE_TEST", KEY)
    (tmp_path / "cams.yaml").write_text(CAMS)
    return SiteDocument.read(tmp_path / "cams.yaml", {"PASSWORD": "hunter22"})[0]


def put(database: FleetDatabase, document: SiteDocument) -> SiteStore:
    store = SiteStore(database, "env:KEY_OF_THE_TEST")
    store.put(document, document.config())
    return store


def cameras(database: FleetDatabase) -> dict[str, tuple[bool, list[str]]]:
    return {row[0]: (row[1], row[2]) for row in database.rows("SELECT id, wanted, labels FROM fleet.camera")}


def test_the_site_comes_back_as_it_was_and_every_version_counts(
    database: FleetDatabase, document: SiteDocument
) -> None:
    store = put(database, document)
    assert store.get() == (1, document.config())
    assert store.put(document, document.config()) == store.version() == 2


def test_the_database_sees_ids_and_labels_and_no_password(
    database: FleetDatabase, document: SiteDocument
) -> None:
    put(database, document)
    assert cameras(database) == {"gate": (True, []), "north-door": (True, ["north"])}
    kept = b"".join(bytes(row[0]) for row in database.rows("SELECT value FROM fleet.setting"))
    assert b"hunter22" not in kept
    assert b"10.0.0.5" not in kept


def test_another_key_does_not_open_it(
    database: FleetDatabase, document: SiteDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = put(database, document)
    monkeypatch.setenv("KEY_OF_THE_TEST", base64.b64encode(bytes(32)).decode())
    with pytest.raises(FleetError, match="does not open with the key"):
        store.get()
    monkeypatch.delenv("KEY_OF_THE_TEST")
    with pytest.raises(FleetError, match=r"fleet's key.*gallery key FILE"):
        store.get()


def test_a_camera_that_leaves_the_file_is_not_wanted_and_one_that_returns_is(
    database: FleetDatabase, document: SiteDocument
) -> None:
    store, config = put(database, document), document.config()
    fewer = config.model_copy(update={"cameras": config.cameras[1:]})
    store.put(document, fewer)
    assert cameras(database)["gate"] == (False, [])
    store.put(document, config)
    assert cameras(database)["gate"] == (True, [])
    store.stop()
    assert not any(wanted for wanted, _ in cameras(database).values())


def test_another_site_takes_no_place_without_a_word(
    database: FleetDatabase, document: SiteDocument, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, config = put(database, document), document.config()
    renamed = [one.model_copy(update={"id": f"other-{one.id}"}) for one in config.cameras]
    other = config.model_copy(update={"cameras": renamed})
    with pytest.raises(
        FleetError, match=r"\(gate, north-door\) has none of this file's cameras; .*--replace"
    ):
        store.put(document, other)
    assert (store.version(), cameras(database)["gate"]) == (1, (True, []))
    monkeypatch.setenv("KEY_OF_THE_TEST", base64.b64encode(bytes(32)).decode())
    with pytest.raises(FleetError, match=r"does not open with this fleet.key; .*fleet down"):
        store.put(document, config)
    assert store.put(document, other, replace=True) == 2
    store.stop()
    assert store.put(document, config) == 3  # nothing is at work


def test_no_two_that_are_put_at_once_are_one_version(fleet_url: str, document: SiteDocument) -> None:
    config = document.config()

    def work(database: FleetDatabase) -> list[int]:
        store = SiteStore(database, "env:KEY_OF_THE_TEST")
        return [store.put(document, config) for _ in range(15)]

    databases = [FleetDatabase(fleet_url, create=True) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        versions = sorted(version for found in pool.map(work, databases) for version in found)
    for database in databases:
        database.close()
    assert versions == list(range(1, 31))


def test_a_site_of_a_newer_version_is_refused_with_the_key_it_stumbles_over(document: SiteDocument) -> None:
    newer = SiteDocument(document.base, {**document.data, "holograms": {"on": True}})
    with pytest.raises(FleetError, match=r"holograms.*update this machine"):
        newer.config()


def test_a_fleet_without_a_site_says_what_to_do(database: FleetDatabase) -> None:
    with pytest.raises(FleetError, match="no site yet; run 'gaitstream fleet up'"):
        SiteStore(database, "none").get()


def test_a_machine_has_its_own_ports_and_journal(document: SiteDocument, tmp_path: Path) -> None:
    place = WorkerPlace(
        "postgresql://u:secret@h/d", "none", "n", endpoint="tcp://0.0.0.0:1", journal=tmp_path
    )
    events = at_place(document.config(), place).events
    assert (events.endpoint, events.journal) == ("tcp://0.0.0.0:1", tmp_path)
    assert "secret" not in repr(place)


def test_the_pipeline_hears_of_changes_once(document: SiteDocument) -> None:
    config = document.config()
    watcher = SiteWatcher(config)
    assert watcher.poll() is None
    watcher.offer(config)
    assert watcher.poll() is None
    fewer = config.model_copy(update={"cameras": config.cameras[1:]})
    watcher.offer(fewer)
    polled = watcher.poll()
    assert polled is not None
    assert polled[1].removed == ("gate",)
    assert watcher.config == fewer
    assert watcher.poll() is None
