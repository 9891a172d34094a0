"""Changes of `cams.yaml` that keep its comments, order and variables; nothing wrong is ever written."""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from yaml import MappingNode, Node, SequenceNode, compose

from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.console.refusals import NotFoundError
from gaitstream.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from ruamel.yaml import YAML

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
            NotFoundError: the file has no such camera.
            ConfigError: the file would be wrong; it stays as it was.
        """

        def change(cameras: Cameras) -> None:
            entry = _find(cameras, camera)
            for key, value in values.items():
                _set(entry, key, value)

        return self._change(change)

    def remove(self, camera: str) -> Config:
        """Take a camera out; raises as `change` does."""
        with FileLock(f"{self.path}.lock"):
            text = self.path.read_text()
            lines = _lines_of(text, camera)
            if lines is not None:
                kept = text.splitlines(keepends=True)
                del kept[lines.start : lines.stop]
                return self._write("".join(kept))
        return self._change(lambda cameras: cameras.remove(_find(cameras, camera)))

    def _change(self, change: Callable[[Cameras], None]) -> Config:
        with FileLock(f"{self.path}.lock"):
            text = self.path.read_text()
            yaml = _yaml(text)
            document = yaml.load(text)
            if not isinstance(document, dict) or not isinstance(document.get("cameras"), list):
                raise ConfigError(f"{self.path}: 'cameras' is no list here; change the file by hand")
            change(document["cameras"])
            written = io.StringIO()
            yaml.dump(document, written)
            return self._write(written.getvalue())

    def _write(self, text: str) -> Config:
        """Put a text in the file's place after reading it as a run would."""
        mode = self.path.stat().st_mode & 0o777
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        beside = Path(name)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            beside.chmod(mode)
            try:
                config = load_config(beside)
            except ConfigError as error:
                raise ConfigError(str(error).replace(str(beside), str(self.path))) from None
            beside.replace(self.path)
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
        return {key: literal(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [literal(one) for one in value]
    return value


def _find(cameras: Cameras, camera: str) -> dict[str, Any]:
    for entry in cameras:
        if entry.get("id") == camera:
            return entry
    raise NotFoundError(f"there is no camera {camera[:64]!r}")


def _set(entry: Any, key: str, value: Any) -> None:
    """Set a key, or take it out for None. Comments hang on the key above them: they stay where they are."""
    last = next(reversed(entry))
    if value is None:
        comment = entry.ca.items.pop(key, None)
        entry.pop(key, None)
        if comment is not None and key == last:
            entry.ca.items.setdefault(next(reversed(entry)), comment)
    elif key in entry:
        entry[key] = literal(value)
    else:
        entry.insert(len(entry) - 1, key, literal(value))


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


def _yaml(text: str) -> YAML:
    """What reads and writes the file in the way it is indented."""
    try:
        from ruamel.yaml import YAML
    except ImportError as error:
        raise MissingExtraError("ruamel.yaml", "console", "changing cams.yaml") from error
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = 1000
    match = _INDENTED.search(text)
    offset = len(match[1]) if match else 2
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    return yaml
