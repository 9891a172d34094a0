"""Comments that a program leaves in cams.yaml, told from people's by how they begin."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from gaitstream.config.reading import Document, Location
from gaitstream.config.yaml_nodes import parse_nodes

WIDTH = 110


def without_notes(text: str, mark: str) -> str:
    """A file's text without the lines of comment that begin with a mark."""
    kept = (line for line in text.splitlines(keepends=True) if not line.lstrip().startswith(f"# {mark}"))
    return "".join(kept)


def with_notes(text: str, notes: Mapping[Location, Sequence[str]], mark: str) -> str:
    """A file's text with lines of comment above keys, wrapped, each beginning with a mark.

    Args:
        text: YAML.
        notes: sentences by the place of a key; of one that is missing they stand above the nearest there is.
        mark: what they begin with.
    """
    document = Document(Path("cams.yaml"), parse_nodes(Path("cams.yaml"), text))
    lines = text.splitlines(keepends=True)
    by_line: dict[int, list[str]] = {}
    for at, said in notes.items():
        by_line.setdefault(document.node(at)[1], []).extend(said)
    for number in sorted(by_line, reverse=True):
        below = lines[number - 1]
        indent = " " * (len(below) - len(below.lstrip()))
        lines[number - 1 : number - 1] = [
            line for one in by_line[number] for line in _comment(one, indent, mark)
        ]
    return "".join(lines)


def _comment(said: str, indent: str, mark: str) -> list[str]:
    prefix = f"{indent}# {mark} "
    plain = "".join(letter if letter.isprintable() else " " for letter in said)
    return [f"{prefix}{line}\n" for line in textwrap.wrap(plain, max(40, WIDTH - len(prefix)))]
