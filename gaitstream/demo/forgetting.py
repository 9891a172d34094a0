"""The demo's last act: one person is erased, and every file searched for what may be left."""

from __future__ import annotations

from pathlib import Path

from gaitstream.demo.record import ForgettingRecord
from gaitstream.evidence.forgetting import KeptEvidence
from gaitstream.gallery import Gallery
from gaitstream.pipeline.forget import Places, check_forgotten, forget


def forget_one(name: str, path: Path, journal: Path, evidence: Path) -> ForgettingRecord:
    """Erase a person from gallery, journal and evidence, as `gaitstream gallery forget` does, and check it.

    Raises:
        GalleryError: the gallery cannot be written.
    """
    with Gallery(path) as gallery:
        kept = (KeptEvidence(evidence),) if evidence.is_dir() else ()
        report = forget(gallery, name, Places(journals=(journal,), evidence=kept))
        return ForgettingRecord(
            name=name,
            encrypted=gallery.encrypted,
            templates=report.templates,
            events=report.events,
            files=len(gallery.store.files()) + sum(one.is_file() for one in journal.rglob("*")),
            remains=[*report.remains, *check_forgotten(report, name)],
        )


def in_words(record: ForgettingRecord) -> str:
    """One sentence for the terminal."""
    found = f"still found: {'; '.join(record.remains)}" if record.remains else "nothing is left"
    return (
        f"Forgot {record.name}: {record.templates} templates erased, the name taken out of {record.events} "
        f"events, {record.files} files searched: {found}"
    )
