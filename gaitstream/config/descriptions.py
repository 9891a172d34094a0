"""Descriptions of the keys of `cams.yaml`: the docstrings below them.

Pydantic would read them whenever the sections are imported, which takes a quarter of a second; only the
reference and the schema show them.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from itertools import pairwise

from gaitstream.config.section import Section


def describe_sections() -> None:
    """Give all sections' keys the descriptions that their docstrings are."""
    sections = list(_sections(Section))
    for section in sections:
        for key, text in _docstrings(section):
            section.model_fields[key].description = text
    for section in sections:  # those within a section were defined, and stand, before it
        section.model_rebuild(force=True)


def _sections(base: type[Section]) -> Iterator[type[Section]]:
    for section in base.__subclasses__():
        yield section
        yield from _sections(section)


def _docstrings(section: type[Section]) -> Iterator[tuple[str, str]]:
    """Keys that are defined in a class, each with the string below it."""
    for definition in ast.parse(inspect.cleandoc(f"\n{inspect.getsource(section)}")).body:
        for key, below in pairwise(getattr(definition, "body", ())):
            match key, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    yield name, inspect.cleandoc(text)
