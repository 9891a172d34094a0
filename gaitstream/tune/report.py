"""What was found, for people, for programs, and as a commented cams.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gaitstream.config.cams_file import CamsFile
from gaitstream.config.reading import Location, load_config, name
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError
from gaitstream.tune.finding import Finding

MARK = "tuned:"


def describe(found: Sequence[Finding], config: Config) -> Iterator[str]:
    """A line each, under a heading for the site and for each camera."""
    by_place: dict[str, list[Finding]] = {"": []}
    for one in found:
        by_place.setdefault(camera_of(one, config), []).append(one)
    for camera, findings in by_place.items():
        if findings:
            yield f"camera {camera}" if camera else "the site"
        for one in findings:
            yield (
                f"  set {_key(one)}: {one.value!r}: {one.said}" if one.value is not None else f"  {one.said}"
            )


def as_data(one: Finding, config: Config) -> dict[str, Any]:
    """A finding as plain data."""
    return {"camera": camera_of(one, config), "at": name(one.at), "value": one.value, "said": one.said}


def camera_of(one: Finding, config: Config) -> str:
    """The camera a finding is about; empty for the site."""
    if len(one.at) > 1 and one.at[0] == "cameras" and isinstance(one.at[1], int):
        return config.cameras[one.at[1]].id
    return ""


def _key(one: Finding) -> str:
    return name(one.at[2:] if one.at[0] == "cameras" else one.at)


def check_place(source: Path, to: Path) -> None:
    """See that a file can be written that replaces nothing but the site's own, or what was written before.

    Raises:
        ConfigError: it cannot, or would.
    """
    CamsFile(source).check_beside(to)
    if not to.exists() or to.samefile(source):
        return
    if f"# {MARK}".encode() not in to.read_bytes():
        raise ConfigError(
            f"{to} exists and 'gaitstream tune' did not write it: name another file, or move it"
        )


def write(found: Sequence[Finding], config: Config, source: Path, to: Path, when: datetime) -> int:
    """Write the file with what is to be set, a comment above each key and each camera.

    Args:
        found: what to set and to say.
        config: of the site.
        source: its file, in which cameras may have come, gone or changed places since.
        to: another in its folder, or the same.
        when: the site was watched.

    Returns:
        How many values were set.

    Raises:
        ConfigError: the file cannot be changed so.
    """
    places = {camera.id: place for place, camera in enumerate(load_config(source).cameras)}
    values: dict[Location, Any] = {}
    notes: dict[Location, list[str]] = {("cameras",): [f"watched at {when:%Y-%m-%d %H:%M} UTC"]}
    for one in found:
        camera, at = camera_of(one, config), one.at
        if camera and camera not in places:
            notes["cameras",].append(f"{camera} has left the file since: {one.said}")
            continue
        if camera:
            at = (at[0], places[camera], *at[2:])
        if one.value is not None:
            values[at] = one.value
        notes.setdefault(at, []).append(f"{camera}: {one.said}" if camera else one.said)
    CamsFile(source).write_settings(values, notes, MARK, to)
    return len(values)
