"""An event leaves the site: evidence, event and the templates it was compared with, in one signed file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import numpy as np

from gaitstream import __version__
from gaitstream.data import Floats
from gaitstream.errors import EventError, EvidenceError, MissingEvidenceError
from gaitstream.events.codec import decode, plain
from gaitstream.events.reading import Reader
from gaitstream.events.schema import Identity
from gaitstream.evidence.bundles import BundledTemplate, BundleManifest, describe_parts, pack
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.reading import as_embedding, media_type
from gaitstream.evidence.records import KeptDecision, TrackEvidence, TrackKey
from gaitstream.evidence.replaying import TOLERANCE, distances
from gaitstream.evidence.signing import Signer, note_signer
from gaitstream.gallery import Gallery, audit
from gaitstream.gallery.checksum import Damage

TemplatesOf = Literal["person", "candidates", "none"]
"""Whose templates go along: of the person who is named, of everybody who was near, or nobody's."""
CHOICES: tuple[TemplatesOf, ...] = get_args(TemplatesOf)
EARLY_NS = 60 * 10**9
"""Clocks that were set may have an event lie so far before the time in its id."""


@dataclass(frozen=True)
class ExportedEvidence:
    """What was written.

    Attributes:
        signer: public key, hexadecimal.
        notes: what should be known about the bundle.
    """

    path: Path
    signer: str
    notes: tuple[str, ...]


def find_event(journal: Path, event_id: str) -> Identity:
    """The identity event of an id, from a journal; the id's own time says where to look.

    Raises:
        EvidenceError: it is no such id, or an event of another kind.
        MissingEvidenceError: the journal has it not (any more).
    """
    for payload in _payloads(journal, published_ns(event_id) - EARLY_NS):
        if event_id.encode() not in payload:
            continue
        event = decode(payload)
        if event.event_id == event_id:
            if isinstance(event, Identity):
                return event
            raise EvidenceError(f"event {event_id} is {event.type}: evidence is of identity events")
    raise MissingEvidenceError(f"{journal} has no event {event_id} (any more)")


def published_ns(event_id: str) -> int:
    """When an event was published, UTC nanoseconds, by its id.

    Raises:
        EvidenceError: it is no such id.
    """
    try:
        return int(event_id.replace("-", "")[:12], 16) * 1_000_000
    except ValueError as error:
        raise EvidenceError(f"{event_id[:64]!r} is no event_id: give one as the events have it") from error


def export(
    folder: SealedFolder,
    gallery: Gallery,
    event: Identity,
    target: Path,
    templates_of: TemplatesOf = "person",
) -> ExportedEvidence:
    """Write the bundle of an event, never over a file that is there, and note it in the gallery's log.

    Args:
        folder: of the evidence.
        gallery: has names, templates and the key that signs.
        event: what the bundle is about.
        target: the file.
        templates_of: see `TemplatesOf`.

    Raises:
        MissingEvidenceError: nothing is kept of the event (any more).
        EvidenceError: what is kept is damaged, or the file cannot be written.
        GalleryError: the gallery cannot be read or written.
    """
    written: list[Path] = []

    def take(data: bytes) -> None:
        _write_new(target, data)
        written.append(target)

    try:
        manifest = hand_out(folder, gallery, event, take, templates_of)
    except BaseException:  # the log has no line of it
        for path in written:
            path.unlink(missing_ok=True)
        raise
    signer = Signer.of(gallery).key
    note_signer(signer)
    return ExportedEvidence(target, signer, manifest.notes)


def hand_out(
    folder: SealedFolder,
    gallery: Gallery,
    event: Identity,
    take: Callable[[bytes], None],
    templates_of: TemplatesOf = "person",
) -> BundleManifest:
    """Give the bytes of an event's bundle to `take`, and note it in the gallery's log; as `export`."""
    signer = Signer.of(gallery)
    manifest, parts = _assemble(folder, gallery, event, templates_of)
    with gallery.writing() as writing:  # no bundle without its line in the log, no line without its bundle
        audit.note(
            writing, gallery.sealer, "evidence.exported",
            person=event.person_id or "", count=len(manifest.pictures), detail=f"event {event.event_id}",
        )  # fmt: skip
        take(pack(manifest, parts, signer))
    return manifest


def _assemble(
    folder: SealedFolder, gallery: Gallery, event: Identity, templates_of: TemplatesOf
) -> tuple[BundleManifest, dict[str, bytes]]:
    """The manifest of a bundle and its parts by name."""
    evidence, embeddings, pictures = folder.read_all(TrackKey(event.camera, event.run, event.track))
    decision = evidence.decision_of(event)
    if decision is None:
        raise MissingEvidenceError(
            f"the evidence of track {event.track} has nothing of event {event.event_id} (any more)"
        )
    wanted, until_ns = _wanted(decision, templates_of), published_ns(event.event_id)
    templates, notes = _templates(gallery, evidence, embeddings, decision, wanted, until_ns)
    names = _picture_names(evidence)
    if len(names) != len(pictures):
        raise EvidenceError(
            f"the evidence of track {event.track} of camera {event.camera} is damaged: {len(pictures)} of "
            f"{len(names)} pictures are there; nothing is exported"
        )
    picture_parts = dict(zip(names, pictures, strict=True))
    window_parts = {f"windows/{number}.f32": data for number, data in enumerate(embeddings)}
    parts = {**picture_parts, **window_parts, **{one.part: data for one, data in templates}}
    manifest = BundleManifest(
        exported_ns=time.time_ns(),
        exported_by=audit.whoami(),
        gaitstream=__version__,
        event=_event(event),
        evidence=evidence,
        decision=evidence.decisions.index(decision),
        templates_of=templates_of,
        templates=tuple(one for one, _ in templates),
        notes=tuple(notes),
        pictures=tuple(picture_parts),
        windows=tuple(window_parts),
        parts=describe_parts(parts),
    )
    return manifest, parts


def _payloads(journal: Path, since_ns: int) -> Iterator[bytes]:
    if not journal.is_dir():
        raise MissingEvidenceError(f"there is no journal {journal}; name one with --journal")
    reader = Reader(journal)
    reader.seek_time(since_ns)
    while True:
        try:
            piece = reader.read()
        except EventError as error:
            raise EvidenceError(f"{journal} cannot be read: {error}") from error
        yield from (bytes(record.payload) for record in piece.records)
        if piece.end:
            return


def _picture_names(evidence: TrackEvidence) -> list[str]:
    """Names of the pictures' parts, by their numbers."""
    views = sorted((number, view) for shot in evidence.shots for view, number in shot.pictures.items())
    return [f"pictures/{n}.{'jpg' if media_type(view) == 'image/jpeg' else 'png'}" for n, view in views]


def _event(event: Identity) -> dict[str, Any]:
    """The event as it was published, but for the names of people whom it does not name: ids stand there."""
    candidates = tuple(
        (name if event.person is not None and name == event.person else person, distance)
        for (name, distance), person in zip(event.candidates, event.candidate_ids, strict=False)
    )
    return plain(msgspec.json.encode(msgspec.structs.replace(event, candidates=candidates)))


def _templates(
    gallery: Gallery,
    evidence: TrackEvidence,
    embeddings: list[bytes],
    decision: KeptDecision,
    wanted: list[str],
    until_ns: int,
) -> tuple[list[tuple[BundledTemplate, bytes]], list[str]]:
    """Templates that give the distances that were kept, and what is to be said about others."""
    windows = {
        window.number: (window.model, as_embedding(data, window.shape))
        for window, data in zip(evidence.windows, embeddings, strict=True)
    }
    used = [windows[number] for number in decision.used if number in windows]
    models = {model for model, _ in used}
    chosen: list[tuple[BundledTemplate, bytes]] = []
    notes: list[str] = []
    for person in wanted:
        for model, parts in _of_person(gallery, person, models, until_ns).items():
            if not _gives_the_same(decision, used, person, model, parts):
                notes.append(f"templates of {person} for {model} have changed since: not in the bundle")
                continue
            for one in parts:
                name = f"templates/{len(chosen)}.f32"
                shape = (int(one.shape[0]), int(one.shape[1]))
                data = np.ascontiguousarray(one, "<f4").tobytes()
                chosen.append((BundledTemplate(person, model, shape, name), data))
    found = {one.person for one, _ in chosen}
    notes += [f"no templates of {person} in the bundle" for person in wanted if person not in found]
    return chosen, notes


def _wanted(decision: KeptDecision, templates_of: TemplatesOf) -> list[str]:
    if templates_of == "none":
        return []
    near = [person for person, _ in decision.nearest]
    return near if templates_of == "candidates" else [one for one in near if one == decision.person_id]


def _of_person(gallery: Gallery, person: str, models: Collection[str], until_ns: int) -> dict[str, Floats]:
    """A person's templates by model, float32 `[n, parts, dim]`: those that were there at a time."""
    found: dict[str, list[Floats]] = {}
    with gallery.store.reading() as reading:
        for row in reading.models():
            if row.name not in models:
                continue
            for template in gallery.vault.templates(reading, row, person):
                if not isinstance(template, Damage) and template.created_ns <= until_ns:
                    found.setdefault(row.name, []).append(template.parts)
    return {model: np.stack(parts) for model, parts in found.items()}


def _gives_the_same(
    decision: KeptDecision, used: list[tuple[str, Floats]], person: str, model: str, parts: Floats
) -> bool:
    """Whether templates give the distances that were kept of a person."""
    again, _ = distances(decision, used, {(person, model): parts})
    before, _ = distances(decision, used, {})
    return bool(np.allclose(again, before, rtol=TOLERANCE, atol=TOLERANCE))


def _write_new(target: Path, data: bytes) -> None:
    try:
        handle = os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError as error:
        raise EvidenceError(f"{target} is there already: give another --out") from error
    except OSError as error:
        raise EvidenceError(f"{target} cannot be written ({error.strerror})") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
    except OSError as error:
        target.unlink(missing_ok=True)
        raise EvidenceError(f"{target} cannot be written ({error.strerror})") from error
