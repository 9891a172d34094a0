"""Between what a gallery means and what its store keeps: rows are sealed going in, opened coming out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from gaitstream.errors import GalleryError
from gaitstream.gallery.base import ModelRow, PersonRow, PictureRow, Reading, SightingRow, TemplateRow
from gaitstream.gallery.calibration import Calibration
from gaitstream.gallery.checksum import Damage, checksum
from gaitstream.gallery.names import fold_name
from gaitstream.gallery.records import PersonRecord, decode_record, encode_record
from gaitstream.gallery.sealing import Sealer
from gaitstream.gallery.sightings import Sighting

Floats = NDArray[np.float32]
_CALIBRATION, _SIGHTING = msgspec.json.Decoder(Calibration), msgspec.msgpack.Decoder(Sighting)


@dataclass(frozen=True, slots=True)
class Template:
    """One template, opened.

    Attributes:
        number: in the store.
        person: uid.
        parts: float32 `[parts, dim]`.
        source: where it came from.
    """

    number: int
    person: str
    model: str
    created_ns: int
    source: str
    parts: Floats


@dataclass(frozen=True)
class Vault:
    """Seals and opens the rows of one gallery."""

    sealer: Sealer

    def person_row(self, uid: str, record: PersonRecord) -> PersonRow:
        """The row of a person."""
        key = self.sealer.lookup(fold_name(record.name))
        return PersonRow(uid, key, self.sealer.seal(encode_record(record), f"person/{uid}"))

    def record(self, row: PersonRow) -> PersonRecord:
        """What is known of a person.

        Raises:
            GalleryError: the row is damaged.
        """
        try:
            return decode_record(self.sealer.open(row.record, f"person/{row.uid}"))
        except (GalleryError, ValueError) as error:
            raise GalleryError(
                f"the record of person {row.uid} is damaged; put a backup in its place, or erase it with "
                f"'gaitstream gallery forget {row.uid}'"
            ) from error

    def records(self, reading: Reading) -> dict[str, PersonRecord]:
        """Everybody, by uid, in the order of enrolment."""
        return {row.uid: self.record(row) for row in reading.persons()}

    def readable(self, reading: Reading) -> dict[str, PersonRecord]:
        """As `records`, without those that are damaged: nobody's erasure waits for another's record."""
        found = {}
        for row in reading.persons():
            with suppress(GalleryError):
                found[row.uid] = self.record(row)
        return found

    def visitors(self, reading: Reading) -> dict[str, PersonRecord]:
        """The visitors among them, by uid, in the order of their first visits."""
        return {uid: record for uid, record in self.records(reading).items() if record.visitor}

    def find(self, reading: Reading, name: str) -> tuple[str, PersonRecord] | None:
        """Uid and record of the person of a name, however it is written."""
        row = reading.find(self.sealer.lookup(fold_name(name)))
        return (row.uid, self.record(row)) if row else None

    def template_row(self, template: Template) -> TemplateRow:
        """The row of a template."""
        place = f"template/{template.person}/{template.model}"
        data = self.sealer.seal(np.ascontiguousarray(template.parts, "<f4").tobytes(), place)
        source = self.sealer.seal(template.source.encode(), f"source/{template.person}")
        return TemplateRow(
            template.number,
            template.person,
            template.model,
            template.created_ns,
            source,
            checksum(data),
            data,
        )

    def template(self, row: TemplateRow, model: ModelRow) -> Template | Damage:
        """A template, or what is wrong with it."""
        source = ""
        try:
            source = self.sealer.open(row.source, f"source/{row.person}").decode(errors="replace")
            if checksum(row.data) != row.checksum:
                raise GalleryError("its checksum is another")
            data = self.sealer.open(row.data, f"template/{row.person}/{row.model}")
            parts = np.frombuffer(data, "<f4").reshape(model.parts, model.dim)
        except (GalleryError, ValueError):
            return Damage(row.number, row.person, row.model, source)
        return Template(row.number, row.person, row.model, row.created_ns, source, parts)

    def templates(
        self, reading: Reading, model: ModelRow, person: str | None = None
    ) -> Iterator[Template | Damage]:
        """A model's templates by number, each as it was or as damaged."""
        return (self.template(row, model) for row in reading.templates(model.name, person))

    def picture_row(self, picture: PictureRow) -> PictureRow:
        """The row of a picture whose `data` is a JPEG."""
        data = self.sealer.seal(picture.data, f"picture/{picture.person}")
        return PictureRow(picture.number, picture.person, picture.created_ns, checksum(data), data)

    def picture(self, row: PictureRow) -> bytes:
        """The JPEG of a picture.

        Raises:
            GalleryError: it is damaged.
        """
        if checksum(row.data) != row.checksum:
            raise GalleryError(f"picture {row.number} of person {row.person} is damaged")
        return self.sealer.open(row.data, f"picture/{row.person}")

    def sighting_row(self, person: str, sighting: Sighting, number: int = 0) -> SightingRow:
        """The row of a sighting of a visitor or a person."""
        data = self.sealer.seal(msgspec.msgpack.encode(sighting), f"sighting/{person}")
        return SightingRow(number, person, sighting.track.time_ns, checksum(data), data)

    def sighting(self, row: SightingRow) -> Sighting:
        """What was seen.

        Raises:
            GalleryError: it is damaged.
        """
        try:
            if checksum(row.data) != row.checksum:
                raise GalleryError("its checksum is another")
            return _SIGHTING.decode(self.sealer.open(row.data, f"sighting/{row.person}"))
        except (GalleryError, ValueError) as error:
            raise GalleryError(
                f"sighting {row.number} of {row.person} is damaged; erase whose it is, or put a "
                "backup in its place"
            ) from error

    def calibration(self, row: ModelRow) -> Calibration | None:
        """The calibration of a model; None before the first.

        Raises:
            GalleryError: it is damaged.
        """
        if not row.calibration:
            return None
        try:
            return _CALIBRATION.decode(self.sealer.open(row.calibration, f"calibration/{row.name}"))
        except (GalleryError, ValueError) as error:
            raise GalleryError(
                f"the calibration of {row.name} is damaged ({error}); 'gaitstream gallery calibrate' makes "
                "it anew"
            ) from error

    def seal_calibration(self, model: str, found: Calibration | None) -> bytes:
        """A calibration as it is kept."""
        return self.sealer.seal(msgspec.json.encode(found), f"calibration/{model}") if found else b""
