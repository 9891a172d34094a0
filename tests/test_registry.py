"""Doors: own entries, entry points of other packages, and what goes wrong with them."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from gaitstream.errors import ConfigError
from gaitstream.registry import Registry

OWN = {"path": "pathlib:Path", "purepath": "pathlib:PurePath"}


def door(*points: tuple[str, str], own: dict[str, str] = OWN) -> Registry[type]:
    found = [EntryPoint(name, value, "test.group") for name, value in points]
    return Registry("kind of path", "test.group", own, installed=lambda group: found)


def test_own_entries_come_first_and_are_imported_when_asked_for() -> None:
    registry = door(("zebra", "no.such.module:X"), ("deque", "collections:deque"))
    assert registry.names() == ("path", "purepath", "deque", "zebra")
    assert registry.get("path").__name__ == "Path"
    assert registry.get("deque").__name__ == "deque"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pat", "no kind of path 'pat' .nearest: path.: known are path, purepath, broken, gone"),
        ("broken", "'broken' of the package no.such.module cannot be loaded from no.such.module:X"),
        ("gone", "collections:Nothing"),
    ],
)
def test_what_cannot_be_had_is_named(name: str, says: str) -> None:
    registry = door(("broken", "no.such.module:X"), ("gone", "collections:Nothing"))
    with pytest.raises(ConfigError, match=says):
        registry.get(name)


def test_two_packages_with_one_name_are_an_error_of_that_name_alone() -> None:
    registry = door(("path", "collections:deque"))
    with pytest.raises(ConfigError, match="brought by gaitstream and collections"):
        registry.get("path")
    assert registry.get("purepath").__name__ == "PurePath"


def test_what_others_bring_can_be_left_out_for_a_while() -> None:
    registry = door(("deque", "collections:deque"))
    with registry.own_only():
        assert registry.names() == ("path", "purepath")
    assert registry.names() == ("path", "purepath", "deque")


def test_an_empty_door_says_so() -> None:
    with pytest.raises(ConfigError, match="none is installed"):
        door(own={}).get("anything")
