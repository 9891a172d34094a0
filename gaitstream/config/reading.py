"""Reading `cams.yaml`: secrets from the environment, errors that name file, line, key and the nearest key."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gaitstream.config.masking import mask, mask_whole, quoted
from gaitstream.config.paths import is_there
from gaitstream.config.schema import Config
from gaitstream.config.section import Section
from gaitstream.config.yaml_nodes import Builder, line_of, read_nodes
from gaitstream.errors import ConfigError
from gaitstream.models.resolve import is_path

Location = tuple[str | int, ...]


def load_config(path: str | Path, environ: Mapping[str, str] | None = None) -> Config:
    """Read and check a configuration file.

    `${NAME}` is replaced from the environment, `${NAME:-default}` has a fallback, `$$` is one dollar sign.
    Paths in the file are relative to the file.

    Args:
        path: the YAML file.
        environ: variables; the process's own when None.

    Raises:
        ConfigError: with one line per problem: file, line, key, what is wrong and what is allowed.
    """
    path = Path(path)
    document = Document.read(path)
    data = document.resolve(os.environ if environ is None else environ)
    try:
        config = Config.model_validate(data, context={"base": str(path.resolve().parent)})
    except ValidationError as error:
        problems = {document.explain(detail) for detail in error.errors(include_url=False)}
        raise ConfigError("\n".join(text for _, text in sorted(problems))) from None
    document.check_models(config)
    return config


@dataclass(frozen=True)
class Document:
    """A YAML file with the line of every key and value."""

    path: Path
    root: yaml.MappingNode

    @classmethod
    def read(cls, path: Path) -> Document:
        """Parse a file.

        Raises:
            ConfigError: it does not exist, cannot be read, is not text, not YAML, empty, or not a mapping.
        """
        return cls(path, read_nodes(path))

    def resolve(self, environ: Mapping[str, str]) -> Any:
        """The file's data with variables replaced, without the keys `x-...`, which hold YAML anchors.

        Raises:
            ConfigError: the file holds what no configuration does; see `Builder.build`.
        """
        data = Builder(self.path, environ).build(self.root)
        return {key: value for key, value in data.items() if not key.startswith("x-")}

    def node(self, at: Location) -> tuple[yaml.Node, int]:
        """The node at a place, or the nearest one above it, and the line of its key."""
        node: yaml.Node = self.root
        line = 1
        for step in at:
            found = next((pair for pair in _children(node) if pair[0] == step), None)
            if found is None:
                break
            _, node, line = found
        return node, line

    def explain(self, detail: ErrorDetails) -> tuple[int, str]:
        """The line of a problem pydantic found, and a line of text about it."""
        at: Location = detail["loc"]
        context = detail.get("ctx", {})
        # pydantic tells of a mapping's key by a step of its own.
        at = self.written((*(step for step in at if step != "[key]"), *context.get("at", ())))
        node, line = self.node(at)
        where = f"{self.path}:{line}: {name(at)}"
        if detail["type"] == "extra_forbidden":
            return line, f"{where}: unknown key{_suggest(str(at[-1]), fields_at(Config, at[:-1]))}"
        if detail["type"] == "missing":
            return line, f"{where}: is missing"
        if detail["type"] == "model_type":
            return line, f"{where}: expected keys such as '{fields_at(Config, at)[0]}:', not a single value"
        text = detail["msg"][:1].lower() + detail["msg"][1:]
        given = isinstance(node, yaml.ScalarNode) and self.node(at[:-1])[0] is not node
        if detail["type"] == "misfit" or not given:
            return line, f"{where}: {text}"
        return line, f"{where}: {quoted(mask_whole(node.value))}: {text}"

    def check_models(self, config: Config) -> None:
        """Check that every model given as a path exists.

        Raises:
            ConfigError: naming the key and the path.
        """
        for at, value in self.models(config):
            if is_path(value) and not is_there(Path(value)):
                raise ConfigError(
                    f"{self.path}:{self.node(at)[1]}: {name(at)}: {value} does not exist; "
                    "give a file or bundle that exists, or a name of the model zoo"
                )

    def models(self, config: Config) -> Iterator[tuple[Location, str]]:
        """Where the file names which model, the recognizers last."""
        models = config.models
        for key, chosen in (
            ("detector", models.detector), ("pose", models.pose), ("segmenter", models.segmenter)
        ):  # fmt: skip
            if chosen is not None:
                yield ("models", key, "model"), chosen.model
        for key, recognizer in models.recognizers.items():
            yield self.written(("models", "recognizers", key, "model")), recognizer.model

    def written(self, at: Location) -> Location:
        """A place as the file has it: a recognizer may stand under its family's own key."""
        if at[:2] == ("models", "recognizers") and len(at) > 2:
            short = ("models", *at[2:])
            if self.node(at[:3])[0] is not self.node(short[:2])[0] and self._has(short[:2]):
                return short
        return at

    def _has(self, at: Location) -> bool:
        return self.node(at)[0] is not self.node(at[:-1])[0]


def name(at: Location) -> str:
    """`('cameras', 0, 'url')` as `cameras[0].url`."""
    text = ""
    for step in at:
        text += f"[{step}]" if isinstance(step, int) else f".{_printable(step)}"
    return text.removeprefix(".") or "the file"


def _printable(key: str) -> str:
    """A key as it can stand in a message: whatever somebody wrote where a key belongs."""
    shown = mask(key if len(key) <= 80 else f"{key[:80]}...")
    return shown if shown.isprintable() else repr(shown)


def fields_at(model: type[Section], at: Location) -> list[str]:
    """The keys allowed at a place of the file."""
    steps = [step for step in at if isinstance(step, str)]
    while steps:
        step = steps.pop(0)
        if step not in model.model_fields:  # a recognizer under its family's own key
            step, steps = "recognizers", [step, *steps]
        annotation = model.model_fields[step].annotation if step in model.model_fields else None
        inner = _model_in(annotation)
        if inner is None:
            return []
        model = inner
        if get_origin(annotation) is dict:
            steps = steps[1:]  # the name in the mapping
    return model.allowed_keys()


def _model_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)


def _suggest(key: str, allowed: list[str]) -> str:
    nearest = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; allowed: {', '.join(allowed)}"


def _children(node: yaml.Node) -> Iterator[tuple[str | int, yaml.Node, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.value, value, line_of(key)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield index, value, line_of(value)
