"""The site's configuration in the fleet's database: sealed, with a version, and the cameras beside it.

What `gaitstream fleet up` reads, variables filled in, goes in as one sealed document; the database sees the
ids of the cameras, their labels and nothing else of it.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import ValidationError

from gaitstream.config.places import WorkerPlace
from gaitstream.config.reading import Document, load_config
from gaitstream.config.schema import Config
from gaitstream.config.watching import Changes, compare, follow
from gaitstream.errors import FleetError, GalleryError, GalleryKeyError
from gaitstream.fleet.database import FleetDatabase
from gaitstream.fleet.tables import read_setting, write_setting
from gaitstream.gallery.keys import NONE, read_key
from gaitstream.gallery.sealing import Sealed, Sealer, Unsealed

if TYPE_CHECKING:
    import psycopg

_PLACE = "fleet/site"


class SiteDocument(msgspec.Struct, frozen=True):
    """What is sealed.

    Attributes:
        base: folder that relative paths were relative to; the same on every machine.
        data: the file as plain data, variables filled in.
    """

    base: str
    data: dict[str, Any]

    @classmethod
    def read(cls, path: Path, environ: Mapping[str, str] = os.environ) -> tuple[SiteDocument, Config]:
        """From a cams.yaml, checked.

        Raises:
            ConfigError: it is wrong.
        """
        config = load_config(path, environ)
        data = Document.read(path).resolve(environ)
        return cls(str(path.resolve().parent), msgspec.to_builtins(data)), config

    def config(self) -> Config:
        """As a configuration.

        Raises:
            FleetError: this version does not understand it.
        """
        try:
            return Config.model_validate(self.data, context={"base": self.base})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise FleetError(
                f"the fleet's configuration does not fit this version of gaitstream ({place}: "
                f"{first['msg']}); update this machine, or run 'gaitstream fleet up' with a file that all "
                "versions know"
            ) from None


class SiteStore:
    """The configuration in the database.

    Args:
        database: the fleet's.
        key: where the key comes from, as `fleet.key`.
    """

    def __init__(self, database: FleetDatabase, key: str) -> None:
        self._database = database
        self._key = key

    def version(self) -> int:
        """Rises with every `put`; 0 before the first."""
        rows = self._database.rows("SELECT value FROM fleet.setting WHERE name = 'site.version'")
        return int(bytes(rows[0][0])) if rows else 0

    def put(self, document: SiteDocument, config: Config, *, replace: bool = False) -> int:
        """Make this the fleet's configuration; returns its version.

        Args:
            document: what is sealed.
            config: the same, checked.
            replace: also where another site is at work in this database.

        Raises:
            FleetError: the key cannot be read, or the site that is at work here is another: it opens with
                another key, or has none of the cameras.
        """
        key = self._read_key()  # first: a command may take long
        with self._database.transaction() as db:
            db.execute("LOCK TABLE fleet.setting IN EXCLUSIVE MODE")  # versions are given one by one
            if not replace:
                self._check_same_site(db, key, config)
            fleet = (read_setting(db, "id") or secrets.token_hex(8).encode()).decode()
            version = int(read_setting(db, "site.version") or b"0") + 1
            sealed = _sealer(key, fleet).seal(msgspec.json.encode(document), _PLACE)
            write_setting(db, "id", fleet.encode())
            write_setting(db, "site.version", str(version).encode())
            write_setting(db, "site", sealed)
            _put_cameras(db, config)
        self._database.tell()
        return version

    def get(self) -> tuple[int, Config]:
        """Version and configuration.

        Raises:
            FleetError: there is none, this key does not open it, or this version does not understand it.
        """
        with self._database.transaction() as db:
            fleet = (read_setting(db, "id") or b"").decode()
            version = int(read_setting(db, "site.version") or b"0")
            sealed = read_setting(db, "site")
        if sealed is None:
            raise FleetError(f"{self._database.url}: the fleet has no site yet; run 'gaitstream fleet up'")
        try:
            plain = _sealer(self._read_key(), fleet).open(sealed, _PLACE)
            document = msgspec.json.decode(plain, type=SiteDocument)
        except (GalleryError, ValueError):
            raise FleetError(
                f"{self._database.url}: the site does not open with the key from "
                f"{self._key.partition(':')[0]}; give every worker the key that 'gaitstream fleet up' had"
            ) from None
        return version, document.config()

    def stop(self) -> None:
        """Let every worker give its cameras back; `put` starts them again."""
        self._database.run("UPDATE fleet.camera SET wanted = false", tell=True)

    def _check_same_site(self, db: psycopg.Connection[Any], key: bytes | None, config: Config) -> None:
        wanted = [row[0] for row in db.execute("SELECT id FROM fleet.camera WHERE wanted ORDER BY id")]
        sealed = read_setting(db, "site")
        if sealed is None or not wanted:
            return
        fleet = (read_setting(db, "id") or b"").decode()
        try:
            msgspec.json.decode(_sealer(key, fleet).open(sealed, _PLACE), type=SiteDocument)
        except (GalleryError, ValueError):
            why = "does not open with this fleet.key"
        else:
            if not {camera.id for camera in config.cameras}.isdisjoint(wanted):
                return
            why = "has none of this file's cameras"
        listed = ", ".join(wanted[:5]) + (f" and {len(wanted) - 5} more" if len(wanted) > 5 else "")
        raise FleetError(
            f"{self._database.url}: the site at work in this database ({listed}) {why}; give another fleet a "
            "database of its own, stop that one with 'gaitstream fleet down', or put this one in its place "
            "with --replace"
        )

    def _read_key(self) -> bytes | None:
        """The fleet's key; None where it has none."""
        if self._key == NONE:
            return None
        try:
            return read_key(self._key)
        except GalleryKeyError as error:
            raise FleetError(
                f"the fleet's key: {str(error).replace('gallery.key', 'fleet.key')}; "
                "'gaitstream gallery key FILE' makes one, and key: none keeps the site in clear"
            ) from error


class SiteWatcher:
    """Hands a new configuration from the thread of the leases to the pipeline's.

    Args:
        config: what runs.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self._offered: Config | None = None

    def offer(self, config: Config) -> None:
        """There is another one; from any thread."""
        self._offered = config

    def poll(self) -> tuple[Config, Changes] | None:
        """See `gaitstream.config.watching.Watcher`."""
        new, self._offered = self._offered, None
        if new is None:
            return None
        changes = compare(self.config, new)
        self.config = follow(self.config, new)
        return (self.config, changes) if changes else None


def at_place(config: Config, place: WorkerPlace) -> Config:
    """The site's configuration with what belongs to this machine."""
    events = config.events.model_copy(
        update={
            "endpoint": place.endpoint,
            "replay": None,
            "journal": place.journal,
            "keys": place.keys or config.events.keys,
        }
    )
    return config.model_copy(update={"events": events})


def _sealer(key: bytes | None, fleet: str) -> Sealer:
    return Unsealed() if key is None else Sealed(key, fleet)


def _put_cameras(db: psycopg.Connection[Any], config: Config) -> None:
    """The cameras' rows: new ones are added, those that are gone or disabled are not wanted any more."""
    enabled = [camera.id for camera in config.cameras if camera.enabled]
    db.execute("UPDATE fleet.camera SET wanted = false WHERE wanted AND NOT id = ANY(%s)", (enabled,))
    with db.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO fleet.camera (id, labels) VALUES (%s, %s) ON CONFLICT (id) DO UPDATE SET "
            "labels = excluded.labels, wanted = true, "
            "freed_at = CASE WHEN camera.wanted THEN camera.freed_at ELSE clock_timestamp() END",
            [(camera, config.fleet.labels(camera)) for camera in enabled],
        )
