"""Bundles: exported, verified, replayed; and refused by name when they are not what was exported."""

from __future__ import annotations

import errno
import io
import json
import os
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import numpy as np
import pytest

from gaitstream.cli import main
from gaitstream.errors import EvidenceError, GalleryError
from gaitstream.evidence.bundles import MANIFEST, SIGNATURE, pack, read_bundle
from gaitstream.evidence.records import TrackKey
from gaitstream.evidence.replaying import replay
from gaitstream.evidence.signing import Signer, known_signers
from gaitstream.gallery import Gallery
from gaitstream.gallery.audit import AuditLine, read_audit
from gaitstream.gallery.base import Writing
from tests.evidence.conftest import Told

Said = pytest.CaptureFixture[str]


@pytest.fixture
def exported(told: Told, tmp_path: Path, capsys: Said) -> Path:
    """The bundle of the last word on Ada."""
    return export(told, tmp_path / "ada.zip")


def export(told: Told, target: Path, *options: str, person: str | None = "Ada Lovelace") -> Path:
    events = [event for event in told.site.finals(person=person) if event.windows]
    command = ["evidence", "export", events[-1].event_id, "--cameras", str(told.site.path)]
    assert main([*command, "--out", str(target), *options]) == 0
    return target


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(
    path: Path, change: Callable[[dict[str, bytes]], object], method: int = zipfile.ZIP_STORED
) -> Path:
    """A copy of a bundle with other members."""
    held = members(path)
    change(held)
    target = path.with_name("changed.zip")
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    return target


def logged(told: Told) -> list[AuditLine]:
    """The audit log's lines on exports."""
    with told.site.gallery() as gallery, gallery.store.reading() as reading:
        lines = [line for _, line in read_audit(reading, gallery.sealer)]
    return [line for line in lines if line.action == "evidence.exported"]


def test_a_bundle_is_verified_and_replayed_with_the_same_decision(
    told: Told, exported: Path, capsys: Said
) -> None:
    assert main(["evidence", "verify", str(exported)]) == 0
    said = capsys.readouterr().out
    assert "is whole and as it was exported" in said
    assert main(["evidence", "replay", str(exported)]) == 0
    said = capsys.readouterr().out
    assert "the decision is the same" in said
    assert f"same  person: {told.ada}, again {told.ada}" in said
    bundle = read_bundle(exported)
    done = replay(bundle)
    assert done.same
    assert done.computed == len(bundle.manifest.evidence.decisions[bundle.manifest.decision].used)
    assert {name.partition("/")[0] for name in bundle.parts} == {"pictures", "windows", "templates"}


def test_an_export_is_in_the_log_and_its_file_for_its_owner_alone(told: Told, exported: Path) -> None:
    [line] = logged(told)
    assert line.person == told.ada
    assert json.loads(members(exported)[MANIFEST])["event"]["event_id"] in line.detail
    assert exported.stat().st_mode & 0o077 == 0
    before = exported.read_bytes()
    again = ["evidence", "export", line.detail.split()[1], "--cameras", str(told.site.path)]
    assert main([*again, "--out", str(exported)]) == 1
    assert exported.read_bytes() == before
    assert logged(told) == [line], "what was not written is not in the log"


def test_an_unknown_person_is_replayed_with_the_distances_as_they_were_signed(
    told: Told, tmp_path: Path, capsys: Said
) -> None:
    target = export(told, tmp_path / "stranger.zip", person=None)
    bundle = read_bundle(target)
    assert bundle.manifest.templates == (), "nobody is named: nobody's template leaves the site"
    done = replay(bundle)
    assert done.same
    assert done.computed == 0
    known = export(told, tmp_path / "again.zip", "--templates", "none")
    assert replay(read_bundle(known)).same
    named = json.loads(members(target)[MANIFEST])
    assert "Ada" not in json.dumps(named), "the event's candidates are ids"


def test_a_decision_that_cannot_be_what_was_computed_is_found(
    told: Told, exported: Path, capsys: Said
) -> None:
    """A site that signs a decision its own numbers do not give: the signature holds, the replay does not."""
    bundle = read_bundle(exported)
    manifest = bundle.manifest
    decisions = list(manifest.evidence.decisions)
    told_so = decisions[manifest.decision]
    decisions[manifest.decision] = msgspec.structs.replace(told_so, threshold=1e-9, distance=1e-10)
    evidence = msgspec.structs.replace(manifest.evidence, decisions=tuple(decisions))
    with told.site.gallery() as gallery:
        signer = Signer.of(gallery)
    exported.write_bytes(pack(msgspec.structs.replace(manifest, evidence=evidence), bundle.parts, signer))
    assert main(["evidence", "verify", str(exported)]) == 0
    assert main(["evidence", "replay", str(exported)]) == 1
    said = capsys.readouterr().out
    assert "OTHER distance" in said
    assert "OTHER status: known, again unknown" in said


@pytest.mark.parametrize("change", [{"each": ((0.5,),)}, {"nearest": ()}, {"used": ()}, {"scales": {}}])
def test_a_signed_record_that_does_not_fit_itself_is_refused(
    exported: Path, change: dict[str, object], capsys: Said
) -> None:
    bundle = read_bundle(exported)
    evidence = bundle.manifest.evidence
    decisions = tuple(msgspec.structs.replace(one, **change) for one in evidence.decisions)
    changed = msgspec.structs.replace(evidence, decisions=decisions)
    manifest = msgspec.structs.replace(bundle.manifest, evidence=changed)
    exported.write_bytes(pack(manifest, bundle.parts, Signer(bytes(32))))
    assert main(["evidence", "replay", str(exported)]) == 1
    assert "parts do not fit each other" in capsys.readouterr().err


def test_what_a_bundle_says_is_shown_as_lines_of_its_own(exported: Path, capsys: Said) -> None:
    bundle = read_bundle(exported)
    manifest = msgspec.structs.replace(bundle.manifest, notes=("none\nthe decision is the same\x1b[2J",))
    exported.write_bytes(pack(manifest, bundle.parts, Signer(bytes(32))))
    capsys.readouterr()
    main(["evidence", "replay", str(exported)])
    assert "note: none\\nthe decision is the same\\x1b[2J\n" in capsys.readouterr().out


def test_nothing_is_left_of_a_bundle_that_could_not_be_written(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    class FullDisk(io.FileIO):
        def write(self, data: Any) -> NoReturn:
            super().write(data[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")

    events = [event for event in told.site.finals(person="Ada Lovelace") if event.windows]
    command = ["evidence", "export", events[-1].event_id, "--cameras", str(told.site.path)]
    monkeypatch.setattr("gaitstream.evidence.exporting.os.fdopen", FullDisk)
    assert main([*command, "--out", str(tmp_path / "ada.zip")]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not (tmp_path / "ada.zip").exists()
    assert logged(told) == []


def test_a_bundle_whose_line_could_not_be_kept_is_taken_back(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def failing(gallery: Gallery) -> Iterator[Writing]:
        with own(gallery) as writing:
            yield writing
            raise GalleryError("no room")

    events = [event for event in told.site.finals(person="Ada Lovelace") if event.windows]
    command = ["evidence", "export", events[-1].event_id, "--cameras", str(told.site.path)]
    with told.site.gallery() as gallery:
        Signer.of(gallery)
    own = Gallery.writing
    monkeypatch.setattr(Gallery, "writing", failing)
    assert main([*command, "--out", str(tmp_path / "ada.zip")]) == 1
    assert not (tmp_path / "ada.zip").exists()
    assert logged(told) == []


def test_a_damaged_byte_anywhere_is_refused(exported: Path) -> None:
    data = exported.read_bytes()
    places = np.random.default_rng(5).integers(0, len(data), 60).tolist()
    for place in [0, 10, 12, 28, len(data) - 1, len(data) - 10, *places]:
        exported.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        with pytest.raises(EvidenceError):
            read_bundle(exported)
    for length in (0, 1, 100, len(data) // 2, len(data) - 1):
        exported.write_bytes(data[:length])
        with pytest.raises(EvidenceError, match="damaged, cut off, or no bundle"):
            read_bundle(exported)
    exported.write_bytes(data + b"more")
    with pytest.raises(EvidenceError):
        read_bundle(exported)
    exported.write_bytes(data)
    assert read_bundle(exported).parts


def test_parts_that_were_changed_added_or_taken_out_are_named(exported: Path) -> None:
    def refused(change: Callable[[dict[str, bytes]], object], why: str) -> None:
        with pytest.raises(EvidenceError, match=why):
            read_bundle(rewritten(exported, change))

    refused(lambda held: held.update({"pictures/0.jpg": b"another"}), "its part pictures/0.jpg was changed")
    refused(lambda held: held.pop("windows/0.f32"), "lacks its part windows/0.f32")
    refused(lambda held: held.update({"pictures/999.jpg": b"x"}), "pictures/999.jpg that was not signed")
    refused(lambda held: held.update({"../../etc/cron.d/x": b"x"}), "a part '../../etc/cron.d/x', which no")
    refused(lambda held: held.update({"/tmp/x": b"x"}), "which no bundle has")
    refused(lambda held: held.update({"pictures/0.jpg/../../x": b"x"}), "which no bundle has")
    refused(lambda held: held.pop(SIGNATURE), "no signature")
    refused(lambda held: held.pop(MANIFEST), "no manifest.json")
    changed = members(exported)[MANIFEST].replace(b'"known"', b'"unknown"', 1)
    refused(lambda held: held.update({MANIFEST: changed}), "its signature does not hold")


def test_zip_bombs_are_refused_before_they_are_opened(exported: Path, tmp_path: Path) -> None:
    bomb = rewritten(
        exported, lambda held: held.update({"pictures/0.jpg": bytes(2**26)}), zipfile.ZIP_DEFLATED
    )
    with pytest.raises(EvidenceError, match=r"compressed part .*zip bomb"):
        read_bundle(bomb)
    with pytest.raises(EvidenceError, match="overlap: it may be a zip bomb"):
        read_bundle(overlapping(tmp_path / "overlap.zip"))
    huge = tmp_path / "huge.zip"
    huge.touch()
    os.truncate(huge, 2**40)
    with pytest.raises(EvidenceError, match="bytes; a bundle has"):
        read_bundle(huge)


def overlapping(target: Path) -> Path:
    """A zip whose many members are the same bytes of the file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("pictures/0.jpg", bytes(2**16))
    data = out.getvalue()
    at = data.index(b"PK\x01\x02")
    entry = data[at : data.index(b"PK\x05\x06")]
    entries = b"".join(entry.replace(b"pictures/0.jpg", b"pictures/%d.jpg" % n) for n in range(9))
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, len(entries), at, 0)
    target.write_bytes(data[:at] + entries + end)
    return target


def test_a_bundle_that_was_signed_anew_is_refused(told: Told, exported: Path, capsys: Said) -> None:
    bundle = read_bundle(exported)
    forger = Signer(bytes(32))
    exported.write_bytes(pack(bundle.manifest, bundle.parts, forger))
    capsys.readouterr()
    for known in ([], ["--signer", bundle.signer], ["--cameras", str(told.site.path)]):
        assert main(["evidence", "verify", str(exported), *known]) == 1
        assert f"signed by {forger.key}, whom nobody here knows" in capsys.readouterr().err
    assert main(["evidence", "verify", str(exported), "--signer", forger.key]) == 0
    assert main(["evidence", "replay", str(exported), "--signer", bundle.signer]) == 1


def test_another_machine_knows_a_site_by_its_key(
    told: Told, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    assert main(["evidence", "key", "--cameras", str(told.site.path)]) == 0
    key = capsys.readouterr().out.split()[-1]
    assert known_signers() == {key}
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "another"))
    assert main(["evidence", "verify", str(exported)]) == 1
    assert "give that with --signer" in capsys.readouterr().err
    assert main(["evidence", "replay", str(exported)]) == 0, "the decision can be looked at in any case"
    assert "warning" in capsys.readouterr().out
    assert main(["evidence", "verify", str(exported), "--signer", key]) == 0
    assert main(["evidence", "verify", str(exported), "--signer", "nonsense"]) == 1


def test_templates_that_have_changed_since_stay_at_home(told: Told, tmp_path: Path, capsys: Said) -> None:
    with told.site.gallery() as gallery:
        fingerprint = gallery.models()["gaitheat"]
        gallery.remove("Ada Lovelace")
        gallery.enroll("Ada Lovelace", "gaitheat", fingerprint, np.zeros((1, 16, 32), np.float32))
    target = export(told, tmp_path / "old.zip")
    said = capsys.readouterr().out
    assert f"note: no templates of {told.ada} in the bundle" in said
    assert replay(read_bundle(target)).same


@pytest.mark.parametrize(
    ("event", "why"),
    [("nonsense", "no event_id"), ("01900000-0000-7000-8000-000000000000", "has no event")],
)
def test_an_event_that_is_not_there_is_explained(told: Told, event: str, why: str, capsys: Said) -> None:
    assert main(["evidence", "export", event, "--cameras", str(told.site.path)]) == 1
    assert why in capsys.readouterr().err


def test_evidence_that_is_gone_is_explained(told: Told, capsys: Said) -> None:
    event = told.site.finals()[-1]
    for path in told.site.reader.files.track_files():
        path.unlink()
    assert main(["evidence", "export", event.event_id, "--cameras", str(told.site.path)]) == 1
    assert "(any more)" in capsys.readouterr().err


@pytest.mark.parametrize("kept", ["half", "head", "all but a byte"])
def test_evidence_that_was_cut_off_is_explained(told: Told, tmp_path: Path, capsys: Said, kept: str) -> None:
    """As by a power failure, or a copy that was interrupted."""
    [event, *_] = [event for event in told.site.finals() if event.windows]
    path = told.site.reader.files.track_file(TrackKey(event.camera, event.run, event.track))
    size = {"half": path.stat().st_size // 2, "head": 20, "all but a byte": path.stat().st_size - 1}[kept]
    os.truncate(path, size)
    out = tmp_path / "case.zip"
    export_it = ["evidence", "export", event.event_id, "--cameras", str(told.site.path), "--out", str(out)]
    assert main(export_it) == 1
    said = capsys.readouterr().err
    assert ("is damaged" in said, said.count("\n")) == (True, 1), said
    assert not out.exists()
