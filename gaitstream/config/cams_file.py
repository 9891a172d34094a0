"""Changes of `cams.yaml` that keep its comments, order and variables; nothing wrong is ever written."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, merge_attrib
from yaml import MappingNode, Node, SequenceNode, compose

from gaitstream.config.notes import with_notes, without_notes
from gaitstream.config.reading import Location, load_config
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError

Cameras = list[dict[str, Any]]
"""The entries under `cameras`, as the file has them."""
_INDENTED = re.compile(r"^cameras:[^\n]*\n(?:\s*(?:#[^\n]*)?\n)*( *)-", re.MULTILINE)


class CamsFile:
    """One cams.yaml.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, camera: Mapping[str, Any]) -> Config:
        """Add a camera at the end.

        Raises:
            ConfigError: the file would be wrong; it stays as it was.
        """
        return self._change(lambda cameras: cameras.append(literal(dict(camera))))

    def change(self, camera: str, values: Mapping[str, Any]) -> Config:
        """Set keys of a camera; None takes a key out.

        Raises:
            ConfigError: the file has no such camera, or would be wrong; it stays as it was.
        """

        def change(cameras: Cameras) -> None:
            entry = _find(cameras, camera)
            for key, value in values.items():
                _set(entry, key, value)

        return self._change(change)

    def remove(self, camera: str) -> Config:
        """Take a camera out; raises as `change` does."""
        with self._lock():
            text = self.path.read_text()
            lines = _lines_of(text, camera)
            if lines is not None:
                kept = text.splitlines(keepends=True)
                del kept[lines.start : lines.stop]
                return self._write("".join(kept))
        return self._change(lambda cameras: cameras.remove(_find(cameras, camera)))

    def write_settings(
        self, values: Mapping[Location, Any], notes: Mapping[Location, Sequence[str]], mark: str, to: Path
    ) -> Config:
        """Write the file with other values, and with comments above them.

        Args:
            values: by place; sections that are missing are made.
            notes: lines of comment by the place of the key they stand above.
            mark: what these comments begin with; those that do are replaced.
            to: where to; the file itself, or another one in its folder, since its paths are relative.

        Raises:
            ConfigError: the file would be wrong, or would lie elsewhere; nothing is written.
        """
        self.check_beside(to)

        def put(document: Any) -> None:
            for at, value in values.items():
                _put(document, at, value)

        with self._lock():
            text = without_notes(self.path.read_text(), mark)
            yaml = _yaml(text)
            document = yaml.load(text)
            _apply(put, document, yaml, text)
            return self._write(with_notes(_dump(yaml, document), notes, mark), to)

    def check_beside(self, other: Path) -> None:
        """Raise ConfigError where no such file can be written, or the same text would mean other paths.

        Paths in the file are relative to the folder that it lies in, behind links.
        """
        folder = self.path.resolve().parent
        if other.resolve().parent != folder:
            raise ConfigError(
                f"{other} is not in {folder}, the folder to which the file's paths are relative"
            )
        if other.is_dir():
            raise ConfigError(f"{other} is a folder: give the name of a file in {folder}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigError(f"{folder} cannot be written to: copy {self.path} into a folder of yours")

    def _change(self, change: Callable[[Cameras], None]) -> Config:
        with self._lock():
            text = self.path.read_text()
            yaml = _yaml(text)
            document = yaml.load(text)
            if not isinstance(document, dict) or not isinstance(document.get("cameras"), list):
                raise ConfigError(f"{self.path}: 'cameras' is no list here; change the file by hand")
            _apply(lambda changed: change(changed["cameras"]), document, yaml, text)
            return self._write(_dump(yaml, document))

    def _lock(self) -> FileLock:
        return FileLock(f"{self.path.resolve()}.lock")

    def _write(self, text: str, to: Path | None = None) -> Config:
        """Put a text in the file's place, or another's, after reading it as a run would; links stay."""
        target = to or self.path
        own = self.path.resolve()
        mode = own.stat().st_mode & 0o777
        ending = "\r\n" if own.read_bytes().partition(b"\n")[0].endswith(b"\r") else "\n"
        handle, name = tempfile.mkstemp(dir=own.parent, prefix=f".{own.name}.")
        beside = Path(name)
        try:
            with os.fdopen(handle, "w", newline=ending) as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.chmod(mode)
            try:
                config = load_config(beside)
            except ConfigError as error:
                raise ConfigError(str(error).replace(str(beside), str(target))) from None
            beside.replace(target.resolve())
        finally:
            beside.unlink(missing_ok=True)
        return config


def literal(value: Any) -> Any:
    """A value that is read as it stands: its dollar signs name no variables.

    >>> literal("rtsp://viewer:pa$$word@10.0.0.5/1")
    'rtsp://viewer:pa$$$$word@10.0.0.5/1'
    """
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, dict):
        return CommentedMap({key: literal(one) for key, one in value.items()})
    if isinstance(value, list | tuple):
        row = CommentedSeq(literal(one) for one in value)
        row.fa.set_flow_style()
        return row
    return value


def _find(cameras: Cameras, camera: str) -> dict[str, Any]:
    for entry in cameras:
        if entry.get("id") == camera:
            return entry
    raise ConfigError(f"there is no camera {camera[:64]!r}")


def _apply(change: Callable[[Any], None], document: Any, yaml: YAML, text: str) -> None:
    """Change a document at the places that are meant, and nowhere else.

    Sections that an alias or a merge shares would change wherever they stand; the other places keep what they
    have.
    """
    wanted = _unshared(document)
    change(document)
    if "*" in text:  # there are aliases
        change(wanted)
        written = yaml.load(_dump(yaml, document))
        _keep_others(document, written, wanted, _first_places(document), ())


def _keep_others(node: Any, written: Any, wanted: Any, first: Mapping[int, Location], at: Location) -> None:
    """Give places that changed along, because they share a section, their own values again.

    Args:
        node: of the document.
        written: what is read again at its place.
        wanted: what it shall be.
        first: see `_first_places`.
        at: the place.
    """
    if isinstance(wanted, dict) and any(key not in wanted for key in written):
        _write_out(node, wanted)
    for step in wanted if isinstance(wanted, dict) else range(len(wanted)):
        here, value = (*at, step), wanted[step]
        if written[step] == value:
            continue
        inner = node[step]
        if isinstance(value, dict | list) and first.get(id(inner)) == here:
            _keep_others(inner, written[step], value, first, here)
        else:
            _set_as_it_is(node, step, _unshared(value))


def _write_out(entry: Any, wanted: Any) -> None:
    """Take the merges (`<<`) out of a section that shall lack a key of theirs; the other keys it keeps."""
    if hasattr(entry, merge_attrib):
        delattr(entry, merge_attrib)
    for key in [key for key in entry if key not in wanted]:
        del entry[key]
    for key in wanted:
        entry.setdefault(key, _unshared(wanted[key]))


def _unshared(value: Any) -> Any:
    """A copy in which nothing is shared, without comments."""
    if isinstance(value, dict):
        return CommentedMap({key: _unshared(one) for key, one in value.items()})
    if isinstance(value, list):
        row = CommentedSeq(map(_unshared, value))
        row.fa.set_flow_style()
        return row
    return value


def _first_places(document: Any) -> dict[int, Location]:
    """Where each section and list stands first, by its identity; elsewhere it is an alias or merged."""
    first: dict[int, Location] = {}

    def visit(node: Any, at: Location) -> None:
        if not isinstance(node, dict | list) or id(node) in first:
            return
        first[id(node)] = at
        for step, inner in node.items() if isinstance(node, dict) else enumerate(node):
            visit(inner, (*at, step))

    visit(document, ())
    return first


def _put(document: Any, at: Location, value: Any) -> None:
    """Set a value at a place; what is missing on the way is made, and a model's short form kept."""
    node, first = document, _first_places(document)
    for depth, step in enumerate(at[:-1]):
        inner = node[step] if isinstance(step, int) else node.get(step)
        if first.get(id(inner), at[: depth + 1]) != at[: depth + 1]:
            inner = _unshared(inner)
            _set_as_it_is(node, step, inner)
        if isinstance(inner, str) and at[depth + 1 :] == ("model",):
            _set(node, str(step), value)
            return
        if inner is None:
            for missing in reversed(at[depth + 1 :]):
                value = {missing: value}
            _set(node, str(step), value)
            return
        node = inner
    _set(node, str(at[-1]), value)


def _set(entry: Any, key: str, value: Any) -> None:
    """Set a key, or take it out for None. Comments hang on the key above them: they stay where they are."""
    if value is not None:
        _set_as_it_is(entry, key, literal(value))
        return
    last = next(reversed(entry), None)
    comment = entry.ca.items.pop(key, None)
    entry.pop(key, None)
    if comment is not None and key == last:
        entry.ca.items.setdefault(next(reversed(entry)), comment)


def _set_as_it_is(entry: Any, key: str | int, value: Any) -> None:
    """Set a key or an item to what the file shall say."""
    if isinstance(key, int) or key in entry or not entry:
        entry[key] = value
    else:
        entry.insert(len(entry) - 1, key, value)


def _lines_of(text: str, camera: str) -> range | None:
    """The lines of a camera's entry, where it has lines of its own; comments below it are not among them."""
    root = compose(text)
    entries = [value for key, value in root.value if key.value == "cameras"] if root else []
    for entry in entries[0].value if entries and not entries[0].flow_style else ():
        if any(key.value == "id" and value.value == camera for key, value in entry.value):
            return range(entry.start_mark.line, _last_line(entry) + 1)
    return None


def _last_line(node: Node) -> int:
    """Where a node's own text ends: a block's mark stands behind the comments below it."""
    if isinstance(node, MappingNode) and not node.flow_style:
        return _last_line(node.value[-1][1])
    if isinstance(node, SequenceNode) and not node.flow_style:
        return _last_line(node.value[-1])
    return int(node.end_mark.line)


def _dump(yaml: YAML, document: Any) -> str:
    written = io.StringIO()
    yaml.dump(document, written)
    return written.getvalue()


def _yaml(text: str) -> YAML:
    """What reads and writes the file in the way it is indented."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 1000
    match = _INDENTED.search(text)
    offset = len(match[1]) if match else 2
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    return yaml
