"""Commands, options and pages that messages and pages name are there."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitstream.cli import build_parser
from gaitstream.cli.lazy import CommandParser

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
SOURCES = sorted((ROOT / "gaitstream").rglob("*.py"))
QUOTED = re.compile(r"""['"`]gaitstream ([a-z][^'"`\x00]*)['"`]""")
"""A command in quotation marks; prose about gaitstream has none."""
OPTION = re.compile(r"(?<![\w\-/`.])--[a-z][a-z0-9-]+(?!\w)")
PAGE = re.compile(r"\bdocs/[\w-]+\.md\b")
FOREIGN = {
    "--cpu", "--force-reinstall", "--generate", "--gpus", "--gpu-architecture", "--head", "--include-path",
    "--no-binary", "--no-cache-dir", "--no-locale", "--no-sync", "--ppid", "--pwfile", "--query-gpu", "--std",
    "--warn-on-spills",
    "--duration", "--idle", "--native", "--output", "--pid", "--rate",
}  # fmt: skip
"""Options of other programs: of pip, ray, docker, PostgreSQL, ps, py-spy, the CUDA compilers, our build."""


def options(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, set[str]]]:
    """Every command, and its options; those of a group are all that its commands have."""
    if isinstance(parser, CommandParser):
        parser.fill()
    own = {name for action in parser._actions for name in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                for found, names in options(child, f"{path} {name}".strip()):
                    yield found, names
                    own |= names
    yield path, own


COMMANDS = dict(options(build_parser()))
GROUPS = {path.rpartition(" ")[0] for path in COMMANDS}


def texts(path: Path) -> Iterator[str]:
    """Every text of a module; what is filled in later is a NUL."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "\0" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def faults(text: str) -> Iterator[str]:
    """Quoted commands that are none, options that such a command does not have, pages that are not there."""
    for quoted in QUOTED.findall(text):
        words = quoted.replace("\\", " ").split()
        path = ""
        while path in GROUPS and words and f"{path} {words[0]}".strip() in COMMANDS:
            path = f"{path} {words.pop(0)}".strip()
        if not path or (path in GROUPS and words and re.fullmatch(r"[a-z]+", words[0])):
            yield f"gaitstream {quoted}: no such command"
            continue
        own = COMMANDS[path]
        yield from (f"gaitstream {quoted}: no {name}" for name in OPTION.findall(quoted) if name not in own)
    yield from (f"no page {name}" for name in PAGE.findall(text) if not (ROOT / name).is_file())


def test_a_command_that_is_none_is_found() -> None:
    assert list(faults("say 'gaitstream tail'")) == ["gaitstream tail: no such command"]
    assert list(faults("`gaitstream gallery lose NAME`")) == ["gaitstream gallery lose NAME: no such command"]
    assert list(faults("'gaitstream plan --workers 2'")) == ["gaitstream plan --workers 2: no --workers"]
    assert list(faults("see docs/nothing.md")) == ["no page docs/nothing.md"]
    assert not list(faults("'gaitstream gallery forget NAME --cameras cams.yaml', docs/privacy.md"))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_names_what_there_is(path: Path) -> None:
    assert not list(faults(path.read_text(encoding="utf-8")))


def test_messages_name_what_there_is() -> None:
    every = set().union(*COMMANDS.values()) | FOREIGN
    found = [
        f"{path.relative_to(ROOT)}: {fault}"
        for path in SOURCES
        for text in texts(path)
        for fault in [
            *faults(text),
            *(f"no command has {name}" for name in OPTION.findall(text) if name not in every),
        ]
    ]
    assert not found
