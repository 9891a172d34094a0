"""Another key for a gallery: everything is sealed anew, in one transaction."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec

from gaitstream.errors import GalleryError
from gaitstream.gallery import audit
from gaitstream.gallery.audit import copy_log
from gaitstream.gallery.base import Writing
from gaitstream.gallery.checksum import Damage
from gaitstream.gallery.gallery import Gallery
from gaitstream.gallery.keys import NONE
from gaitstream.gallery.opening import LOCK, make_key, missing_key_file
from gaitstream.gallery.sealing import Sealer, Unsealed, make_lock
from gaitstream.gallery.secrets import reseal_secrets
from gaitstream.gallery.tally import keep_tally
from gaitstream.gallery.vault import Vault


def rekey(gallery: Gallery, key: str) -> list[str]:
    """Seal everything with a new key of the gallery's own, closed with the operator's new one.

    A gallery that was not encrypted is from now on; `none` opens one for good. The old key opens nothing
    any more; copies made before, it does.

    Args:
        gallery: open with its old key.
        key: where the new one comes from; a file that is not there is made.

    Returns:
        What of the old rows could not be overwritten, a line each.

    Raises:
        GalleryError: something in the gallery is damaged: nothing is changed.
    """
    new_file = missing_key_file(key)
    operator = make_key(Path(gallery.url), key)
    try:
        with gallery.resealing() as writing:
            lock, sealer = make_lock(operator, gallery.id) if operator is not None else (None, Unsealed())
            _reseal(gallery, writing, sealer)
            writing.set(LOCK, msgspec.msgpack.encode(lock) if lock is not None else None)
            audit.note(writing, sealer, "rekeyed", detail=NONE if lock is None else "")
            for uid in [row.uid for row in writing.persons()]:
                writing.note_change(uid)
            if lock is not None:
                keep_tally(writing, sealer)
            identity = gallery.identify(writing)
    except GalleryError:
        if new_file is not None:
            _remove_unused(gallery, new_file)
        raise
    gallery.use_sealer(sealer, identity)
    return gallery.store.purge()


def _remove_unused(gallery: Gallery, key: Path) -> None:
    """Remove a new key where the gallery is still under the one it was opened with, and surely so."""
    with suppress(GalleryError), gallery.store.reading() as reading:
        if gallery.is_current(reading):
            key.unlink(missing_ok=True)


def _reseal(gallery: Gallery, writing: Writing, sealer: Sealer) -> None:
    old, new = gallery.vault, Vault(sealer)
    for uid, record in old.records(writing).items():
        writing.put_person(new.person_row(uid, record))
        for row in list(writing.sightings(uid)):
            writing.put_sighting(new.sighting_row(uid, old.sighting(row), row.number))
    _reseal_models(gallery, writing, sealer)
    reseal_secrets(writing, gallery.sealer, sealer)
    for picture in list(writing.pictures()):
        writing.put_picture(new.picture_row(replace(picture, data=old.picture(picture))))
    problems = copy_log(writing, gallery.sealer, sealer)
    if problems:
        raise GalleryError(f"{gallery.url}: {problems[0]}; see 'gaitstream gallery verify' first")


def _reseal_models(gallery: Gallery, writing: Writing, sealer: Sealer) -> None:
    old, new = gallery.vault, Vault(sealer)
    for model in writing.models():
        for row in list(writing.templates(model.name)):
            opened = old.template(row, model)
            if isinstance(opened, Damage):
                gallery.tuner.complain(writing, opened, gallery.url)
            writing.put_template(new.template_row(opened))
        found = old.calibration(model)
        writing.put_model(replace(model, calibration=new.seal_calibration(model.name, found)))
        for place in (f"searches/{model.name}", f"site/{model.name}"):
            kept = writing.setting(place)
            if kept is not None:
                writing.set(place, sealer.seal(gallery.sealer.open(kept, place), place))
