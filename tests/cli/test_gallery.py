"""The gallery's commands from end to end, with names that try to be something else."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from gaitstream.cli import main
from gaitstream.events import IdentityFinal, Journal, TrackStarted
from gaitstream.events.codec import decode
from gaitstream.events.offline import append_offline
from gaitstream.gallery import Gallery
from gaitstream.gallery.editing import keep_until
from gaitstream.gallery.retention import DAY_NS
from tests.gallery.filled import MODEL, PRINT, fill, walks

E1, E2 = "0190a3b4-0000-7000-8000-000000000001", "0190a3b4-0000-7000-8000-000000000002"
Said = pytest.CaptureFixture[str]


@pytest.fixture
def path(tmp_path: Path) -> str:
    found = tmp_path / "people.gallery"
    with Gallery(found, create=True) as gallery:
        fill(gallery)
    return str(found)


def run(path: str, *words: str) -> int:
    return main(["gallery", words[0], *words[1:], "--gallery", path])


def test_each_line_of_the_log_is_one_line(path: str, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    monkeypatch.setenv("GAITSTREAM_ACTOR", "ann\n9 2026-01-01 00:00 UTC ben: confirmed\x1b[1A")
    assert run(path, "keep", "Bob", "--days", "1") == 0
    capsys.readouterr()
    assert run(path, "audit") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "ann\\n9 2026" in lines[-1]
    assert "\x1b" not in lines[-1]


@pytest.mark.parametrize("name", [":smile: [red]x[/red]", "a\\\\", "Maximiliana " * 8 + "von"])
def test_a_name_is_listed_as_it_is(name: str, path: str, capsys: Said) -> None:
    """Neither drawn nor coloured, and in one line where a program reads it."""
    assert run(path, "rename", "Bob", name) == 0
    capsys.readouterr()
    assert run(path, "list") == 0
    assert f" {name} " in capsys.readouterr().out


@pytest.mark.parametrize("name", ["{}/inside.export", "x" * 250, "x" * 300])
def test_an_export_to_where_no_file_can_be_is_refused(
    name: str, path: str, tmp_path: Path, capsys: Said
) -> None:
    before = sorted(tmp_path.iterdir())
    file = str(tmp_path / name.format(Path(path).name))
    assert run(path, "export", file) == 1
    assert f"{file} cannot be written: " in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


def test_bytes_that_are_no_text_name_nobody(path: str, monkeypatch: pytest.MonkeyPatch, capsys: Said) -> None:
    """As a shell passes on what another system wrote."""
    for words in (["forget", "\udcff"], ["apart", "\udcff", "Ada"], ["show", "\udcff"]):
        assert run(path, *words) == 1
        assert "the name '\\udcff' holds U+DCFF, which cannot be shown" in capsys.readouterr().err
    monkeypatch.setenv("GAITSTREAM_ACTOR", "Andr\udce9")
    assert run(path, "rename", "Bob", "Ben") == 0
    assert run(path, "audit") == 0
    assert "Andr\\udce9: renamed" in capsys.readouterr().out
    monkeypatch.delenv("GAITSTREAM_ACTOR")
    assert run(path, "confirm", E1, "--by", "Andr\udce9") == 0
    assert run(path, "confirm", E1, "--by", "Andr\udce9") == 1
    assert "Andr\\udce9 has confirmed event" in capsys.readouterr().err


def test_a_folder_that_is_not_there_is_not_taken_for_one_without_old_evidence(
    path: str, tmp_path: Path, capsys: Said
) -> None:
    assert run(path, "sweep", "--evidence", str(tmp_path / "none"), "--evidence-days", "1") != 0
    assert f"--evidence {tmp_path / 'none'}: there is no such folder" in capsys.readouterr().err


def test_a_gallery_that_is_not_sealed_says_so_where_a_key_is_given(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / "open.gallery")
    with Gallery(path, create=True, key="none") as gallery:
        fill(gallery)
    assert run(path, "list", "--key", "none") == 0
    assert run(path, "list") == 0
    assert "NOT encrypted" not in caplog.text
    assert run(path, "list", "--key", f"file:{tmp_path}/key") == 0
    assert "NOT encrypted" in caplog.text


def test_a_command_for_the_key_that_is_no_command_is_explained(path: str, capsys: Said) -> None:
    assert run(path, "list", "--key", "command:vault 'read") != 0
    assert "the command of gallery.key failed (ValueError)" in capsys.readouterr().err


def test_a_gallery_of_a_later_version_asks_for_it(path: str, capsys: Said) -> None:
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    assert run(path, "list") != 0
    assert "a later version of gaitstream made it: update this one" in capsys.readouterr().err


def test_a_gallery_is_kept_by_its_commands(path: str, tmp_path: Path, capsys: Said) -> None:
    assert run(path, "rename", "Ada", "Ada Lovelace") == 0
    assert run(path, "keep", "bob", "--days", "30") == 0
    assert run(path, "show", "BOB") == 0
    assert "template 4: gaitheat" in capsys.readouterr().out
    assert run(path, "split", "Bob", "--templates", "5,6", "--to", "Eve") == 0
    assert run(path, "merge", "Bob", "Eve") == 0
    assert run(path, "list") == 0
    listed = capsys.readouterr().out
    assert "Ada Lovelace" in listed
    assert "Eve" not in listed.split("is gone")[1]
    assert run(path, "sweep", "--person-days", "1") == 0
    assert "erased 0 people" in capsys.readouterr().out
    assert run(path, "verify") == 0
    assert "whole" in capsys.readouterr().out
    assert run(path, "rekey", "--to", f"file:{tmp_path}/new.key") == 0
    assert run(path, "list") == 1
    assert "does not open with this key" in capsys.readouterr().err
    assert run(path, "audit", "--key", f"file:{tmp_path}/new.key") == 0
    said = capsys.readouterr().out
    for action in ("enrolled 3", "renamed", "retention", "split 2", "merged 2", "rekeyed"):
        assert action in said


def test_galleries_are_copied_exported_and_imported(path: str, tmp_path: Path, capsys: Said) -> None:
    copied, carried, fresh = (str(tmp_path / name) for name in ("copied", "carried", "fresh"))
    assert main(["gallery", "copy", path, copied]) == 0
    assert "3 people, 9 templates and 3 pictures are new in" in capsys.readouterr().out
    assert run(path, "export", carried) == 0
    assert run(fresh, "import", carried) == 0
    for place in (copied, fresh):
        assert run(place, "verify") == 0
        with Gallery(place) as gallery:
            assert [entry.name for entry in gallery.persons()] == ["Ada", "Bob", "Cyd"]
    assert main(["gallery", "key", str(tmp_path / "another.key")]) == 0
    assert "nobody can read the gallery again" in capsys.readouterr().out
    assert main(["gallery", "key", str(tmp_path / "another.key")]) == 1


@pytest.mark.parametrize("action", ["import", "copy"])
def test_what_is_refused_leaves_no_new_gallery(action: str, path: str, tmp_path: Path, capsys: Said) -> None:
    """A damaged file, or a key that cannot be read; a gallery that was there stays, and so does its key."""
    carried, there, fresh = tmp_path / "carried", tmp_path / "there", tmp_path / "fresh"
    words = {"import": ["--gallery", str(fresh)], "copy": [str(fresh)]}[action]
    key = {"import": "--key", "copy": "--to-key"}[action]
    assert run(path, "export", str(carried)) == 0
    before = sorted(tmp_path.iterdir())
    assert main(["gallery", action, str(carried), *words, key, "env:NO_SUCH_KEY"]) == 1
    assert "env:NO_SUCH_KEY holds no key" in capsys.readouterr().err
    assert [one for one in sorted(tmp_path.iterdir()) if one not in before and one.suffix != ".lock"] == []
    with sqlite3.connect(carried) as db:
        db.execute("UPDATE template SET data = zeroblob(length(data))")
    db.close()
    assert main(["gallery", action, str(carried), *words]) == 1
    assert "damaged" in capsys.readouterr().err
    assert [one for one in sorted(tmp_path.iterdir()) if one.name.startswith("fresh")] == []
    with Gallery(there, create=True):
        kept = (tmp_path / "there.key").read_bytes()
    assert main(["gallery", action, str(carried), *[word.replace("fresh", "there") for word in words]]) == 1
    assert (tmp_path / "there.key").read_bytes() == kept
    with Gallery(there) as gallery:
        assert gallery.persons() == []


def test_a_match_is_confirmed_by_two(path: str, capsys: Said) -> None:
    assert run(path, "confirm", E1, "--by", "ann") == 0
    assert run(path, "confirm", E1, "--by", "ben") == 0
    assert run(path, "reject", E2, "--by", "ann") == 0
    assert capsys.readouterr().out.splitlines() == [
        f"event {E1} is proposed", f"event {E1} is confirmed", f"event {E2} is rejected",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["[/red]", "[bold]Ada[/bold]", "{x}", "%s", "O'Hara", 'a"b', "../../etc"])
def test_names_are_names_and_nothing_else(path: str, name: str, capsys: Said) -> None:
    with Gallery(path) as gallery:
        gallery.enroll(name, MODEL, PRINT, walks(9))
    assert run(path, "list") == 0
    assert name in capsys.readouterr().out
    assert run(path, "show", name) == 0
    assert run(path, "remove", name) == 0
    assert f"erased {name} with 3 templates" in capsys.readouterr().out


def test_an_unknown_name_does_not_tell_all_the_others(path: str, capsys: Said) -> None:
    assert run(path, "remove", "Adda") == 1
    said = capsys.readouterr().err
    assert "the nearest of 3 is 'Ada'" in said
    assert "Bob" not in said


def test_listing_waits_for_no_writer(path: str, capsys: Said) -> None:
    with Gallery(path) as gallery, gallery.store.writing() as writing:
        writing.set("half", b"done")
        assert run(path, "list") == 0
    assert "Ada" in capsys.readouterr().out
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("BEGIN IMMEDIATE")
        assert run(path, "info") == 0
        db.execute("ROLLBACK")
    db.close()


def test_the_gallery_of_a_configuration_is_found(path: str, tmp_path: Path, capsys: Said) -> None:
    cams = tmp_path / "cams.yaml"
    cams.write_text("cameras: [{id: a, url: 'synth://?seed=1'}]\ngallery: {path: people.gallery}\n")
    assert main(["gallery", "list", "--cameras", str(cams)]) == 0
    assert "Cyd" in capsys.readouterr().out
    cams.write_text("cameras: [{id: a, url: 'synth://?seed=1'}]\n")
    assert main(["gallery", "list", "--cameras", str(cams)]) == 2
    assert "names no gallery" in capsys.readouterr().err


def test_damage_is_an_exit_code(path: str, capsys: Said) -> None:
    with Gallery(path) as gallery, gallery.store.writing() as writing:
        writing.clear_audit()
    assert run(path, "verify") == 1
    assert "audit lines 1 to 3 are missing" in capsys.readouterr().out


@pytest.mark.parametrize("days", [5_000_000, 10**12, -(10**9), 10**300])
def test_a_time_that_was_kept_before_there_were_limits_is_shown(path: str, capsys: Said, days: int) -> None:
    with Gallery(path) as gallery:
        keep_until(gallery, "Ada", days * DAY_NS)
    for command in (["list"], ["show", "Ada"], ["info"]):
        assert run(path, *command) == 0
    said = capsys.readouterr().out
    assert said.count("9999-12-31" if days > 0 else "1-01-02") == 2


def test_a_match_is_looked_up_where_a_journal_is_known(path: str, tmp_path: Path, capsys: Said) -> None:
    Journal(tmp_path / "journal").close()
    events = [
        IdentityFinal(time_ns=1, camera="gate", track=1, status="known", person="Ada", person_id="a" * 20),
        TrackStarted(time_ns=1, camera="gate", track=2, box=(0, 0, 1, 1)),
    ]
    for event in events:
        assert append_offline(tmp_path / "journal", event)
    journal = Journal(tmp_path / "journal")
    match, other = (decode(record.payload).event_id for record in journal.read())
    journal.close()
    where = ["--journal", str(tmp_path / "journal")]
    assert run(path, "confirm", match, *where) == 0
    assert "is proposed" in capsys.readouterr().out
    for action in ("confirm", "reject"):
        assert run(path, action, E1, *where) != 0
        assert f"has no event {E1}" in capsys.readouterr().err
        assert run(path, action, other, *where) != 0
        assert "says of nobody who it is" in capsys.readouterr().err
        assert run(path, action, "../../x", *where) != 0
        assert "is no event_id" in capsys.readouterr().err
    assert run(path, "audit") == 0
    assert capsys.readouterr().out.count("confirmed") == 1
