"""A YAML text as nodes with their lines, and as plain data: all else is a ConfigError with a line.

PyYAML composes the nodes; what it would do with them is done here, within bounds: its own constructors raise
half a dozen kinds of exception on unusual input, follow aliases without end, and drop keys that stand twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from gaitstream.config.masking import mask, quoted
from gaitstream.errors import ConfigError

MOST_BYTES = 4 << 20
"""Largest file: ten thousand cameras need a quarter of it."""
MOST_NODES = 200_000
"""Values in a file with every alias written out: a few lines of aliases can stand for billions."""
MOST_DEPTH = 40

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<bad>\{))")
_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(f"{_TAG}{name}" for name in ("str", "int", "float", "bool", "null", "timestamp"))
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def read_nodes(path: Path) -> yaml.MappingNode:
    """Parse a file.

    Raises:
        ConfigError: it does not exist, cannot be read, is not text, not YAML, empty, or not a mapping.
    """
    return parse_nodes(path, _read_text(path))


def parse_nodes(path: Path, text: str) -> yaml.MappingNode:
    """Parse the text of a file; raises as `read_nodes`.

    Args:
        path: for the errors.
        text: YAML.
    """
    root = _compose(path, text)
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError(f"{path}:1: expected keys such as 'cameras:' and 'models:', found none")
    return root


def line_of(node: yaml.Node) -> int:
    """The line a node begins on, counted from 1."""
    return int(node.start_mark.line) + 1


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a cams.yaml") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    if len(data) > MOST_BYTES:
        raise ConfigError(f"{path}:1: is larger than {MOST_BYTES >> 20} MiB; is it a cams.yaml?")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: cannot be read: not UTF-8; save it as UTF-8 text") from None


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{path}:{line}: not YAML: {mask(error.problem or str(error.context))}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{path}:{line}: not YAML: the character U+{int(error.character):04X} is not allowed; delete it"
        ) from None
    except RecursionError:
        raise ConfigError(f"{path}:1: not YAML: nested too deep") from None
    except (yaml.YAMLError, ValueError) as error:  # such as an escape that is no character
        raise ConfigError(f"{path}:1: not YAML: {mask(str(error))}") from None


class Builder:
    """Makes plain data of nodes, once.

    Merges (`<<`) are written out in the nodes too, so that places in the data are found in them.

    Args:
        path: for the errors.
        environ: values of `${NAME}`.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self._environ = environ
        self._nodes = 0
        self._open: list[int] = []

    def build(self, node: yaml.Node) -> Any:
        """The data of a node.

        Raises:
            ConfigError: a key stands twice or is no text, a value or tag is none that a configuration has, an
                alias holds itself, or a variable is not set.
        """
        self._enter(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                self._expect_tag(node, "seq")
                return [self.build(item) for item in node.value]
            if isinstance(node, yaml.MappingNode):
                self._expect_tag(node, "map")
                self._check_keys(node)
                self._merge(node)
                return {key.value: self.build(value) for key, value in node.value}
            return self._scalar(node)
        finally:
            self._open.pop()

    def _enter(self, node: yaml.Node) -> None:
        """Count a node, and refuse one that holds itself."""
        self._nodes += 1
        if id(node) in self._open:
            raise self._error(node, "an alias stands inside of what it stands for; write the value out")
        if len(self._open) >= MOST_DEPTH or self._nodes > MOST_NODES:
            raise self._error(node, "too much is nested or repeated by aliases; write less of it")
        self._open.append(id(node))

    def _expect_tag(self, node: yaml.Node, name: str) -> None:
        if node.tag != _TAG + name:
            raise self._tag_error(node)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key is text, not a list or section; write 'name: value'")
            first = seen.setdefault(key.value, key)
            if first is not key:
                text = f"key {quoted(mask(key.value))} is on line {line_of(first)} already; keep one"
                raise self._error(key, text)

    def _merge(self, node: yaml.MappingNode) -> None:
        """Write `<<` out: the section's own keys go before those of the merged ones, earlier before later."""
        own = [(key, value) for key, value in node.value if not _is_merge(key)]
        found = dict.fromkeys(key.value for key, _ in own)
        merged: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            if _is_merge(key):
                for section in self._merged_sections(value):
                    for pair in section.value:
                        merged.setdefault(pair[0].value, pair)
        node.value = [pair for name, pair in merged.items() if name not in found] + own

    def _merged_sections(self, value: yaml.Node) -> list[yaml.MappingNode]:
        several = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for section in several:
            if not isinstance(section, yaml.MappingNode):
                raise self._error(value, "'<<' merges sections: give an alias of one, such as *name")
            self._enter(section)
            try:
                self._check_keys(section)
                self._merge(section)
            finally:
                self._open.pop()
        return list(several)

    def _scalar(self, node: yaml.Node) -> Any:
        if node.tag not in _SCALARS:
            raise self._tag_error(node)
        if node.tag == f"{_TAG}str" or _is_ratio(node):
            text = _VARIABLE.sub(lambda match: self._variable(match, node), node.value)
            odd = _UNPRINTABLE.search(text)
            if odd is not None:
                raise self._error(node, f"holds the character U+{ord(odd[0]):04X}, which no value has")
            return text
        try:
            return _construct(node)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, yaml.YAMLError):
            kind = {"timestamp": "time", "int": "whole number", "float": "number"}.get(
                node.tag.removeprefix(_TAG), node.tag.removeprefix(_TAG)
            )
            text = f"{quoted(mask(node.value))} is no {kind}; correct it, or put it in quotes if it is text"
            raise self._error(node, text) from None

    def _variable(self, match: re.Match[str], node: yaml.Node) -> str:
        if match[0] == "$$":
            return "$"
        if match["bad"]:
            raise self._error(node, "'${' without a variable's name; write ${NAME}, or $$ for a dollar sign")
        value = self._environ.get(match["name"], match["default"])
        if value is None:
            raise self._error(
                node,
                f"the environment variable {match['name']} is not set; "
                f"set it, or write ${{{match['name']}:-default}}",
            )
        return value

    def _tag_error(self, node: yaml.Node) -> ConfigError:
        shown = quoted(mask(node.tag.replace(_TAG, "!!")))
        return self._error(node, f"the tag {shown} means nothing here; delete it, or quote the value")

    def _error(self, node: yaml.Node, text: str) -> ConfigError:
        return ConfigError(f"{self._path}:{line_of(node)}: {text}")


def _is_merge(key: yaml.Node) -> bool:
    return key.tag == f"{_TAG}merge"


def _is_ratio(node: yaml.Node) -> bool:
    """Whether YAML 1.1 takes two numbers with a colon for one in base 60, as 12:11 for 731."""
    return node.tag in (f"{_TAG}int", f"{_TAG}float") and ":" in node.value


_construct: Callable[[yaml.Node], Any] = yaml.SafeLoader("").construct_object
"""Turns a scalar node into int, float, bool, time or None; it holds no state between scalars."""
