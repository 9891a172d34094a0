"""Reading `cams.yaml`: secrets from the environment, errors that name file, line, key and the nearest key."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gaitstream.config.schema import Config, is_model_path
from gaitstream.config.secret_url import mask
from gaitstream.errors import ConfigError

Location = tuple[str | int, ...]

_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}|(?P<bad>\{))")


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
    root: yaml.Node

    @classmethod
    def read(cls, path: Path) -> Document:
        """Parse a file.

        Raises:
            ConfigError: it does not exist, is not text, not YAML, empty, or not a mapping.
        """
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; give the path of a cams.yaml") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: cannot be read: {error}") from None
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise ConfigError(f"{path}:{line}: not YAML: {error.problem or error.context}") from None
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path}:1: expected keys such as 'cameras:' and 'models:', found none")
        return cls(path, root)

    def resolve(self, environ: Mapping[str, str]) -> Any:
        """The file's data with variables replaced, without the keys `x-...`, which hold YAML anchors.

        Raises:
            ConfigError: a key stands twice, or a variable is not set.
        """
        data = self._build(self.root, environ)
        return {key: value for key, value in data.items() if not str(key).startswith("x-")}

    def _build(self, node: yaml.Node, environ: Mapping[str, str]) -> Any:
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, environ) for item in node.value]
        if isinstance(node, yaml.MappingNode):
            self._check_keys(node)
            _SCALARS.flatten_mapping(node)
            node.value = list({key.value: (key, value) for key, value in node.value}.values())
            return {key.value: self._build(value, environ) for key, value in node.value}
        if node.tag == "tag:yaml.org,2002:str":
            return _VARIABLE.sub(lambda match: self._variable(match, node, environ), node.value)
        return _SCALARS.construct_object(node, deep=True)

    def _check_keys(self, node: yaml.MappingNode) -> None:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            first = seen.setdefault(str(key.value), _line(key))
            if first != _line(key):
                raise ConfigError(
                    f"{self.path}:{_line(key)}: key {key.value!r} is on line {first} already; keep one"
                )

    def _variable(self, match: re.Match[str], node: yaml.Node, environ: Mapping[str, str]) -> str:
        if match[0] == "$$":
            return "$"
        where = f"{self.path}:{_line(node)}"
        if match["bad"]:
            raise ConfigError(
                f"{where}: '${{' without a variable's name; write ${{NAME}}, or $$ for a dollar sign"
            )
        value = environ.get(match["name"], match["default"])
        if value is None:
            raise ConfigError(
                f"{where}: the environment variable {match['name']} is not set; "
                f"set it, or write ${{{match['name']}:-default}}"
            )
        return value

    def node(self, at: Location) -> tuple[yaml.Node, int]:
        """The node at a place, or the nearest one above it, and the line of its key."""
        node, line = self.root, 1
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
        at = (*at, *context.get("at", ()))
        node, line = self.node(at)
        where = f"{self.path}:{line}: {name(at)}"
        if detail["type"] == "extra_forbidden":
            return line, f"{where}: unknown key{_suggest(str(at[-1]), fields_at(Config, at[:-1]))}"
        if detail["type"] == "missing":
            return line, f"{where}: is missing"
        text = detail["msg"][:1].lower() + detail["msg"][1:]
        given = isinstance(node, yaml.ScalarNode) and self.node(at[:-1])[0] is not node
        if detail["type"] == "misfit" or not given:
            return line, f"{where}: {text}"
        return line, f"{where}: {mask(node.value)!r}: {text}"

    def check_models(self, config: Config) -> None:
        """Check that every model given as a path exists.

        Raises:
            ConfigError: naming the key and the path.
        """
        wanted = [("detector", config.models.detector.model)]
        wanted += [("pose", config.models.pose.model)] if config.models.pose else []
        wanted += [(kind, model.model) for kind, model in config.models.recognizers.items()]
        for key, value in wanted:
            if is_model_path(value) and not Path(value).exists():
                at = ("models", key, "model")
                raise ConfigError(
                    f"{self.path}:{self.node(at)[1]}: {name(at)}: {value} does not exist; "
                    "give a file or bundle that exists, or a name of the model zoo"
                )


def name(at: Location) -> str:
    """`('cameras', 0, 'url')` as `cameras[0].url`."""
    text = ""
    for step in at:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".") or "the file"


def fields_at(model: type[BaseModel], at: Location) -> list[str]:
    """The keys allowed at a place of the file."""
    for step in at:
        if isinstance(step, str):
            inner = _model_in(model.model_fields[step].annotation)
            if inner is None:
                return []
            model = inner
    return list(model.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)


def _suggest(key: str, allowed: list[str]) -> str:
    nearest = difflib.get_close_matches(key, allowed, n=1, cutoff=0.5)
    return f"; did you mean {nearest[0]!r}?" if nearest else f"; allowed: {', '.join(allowed)}"


def _children(node: yaml.Node) -> Iterator[tuple[str | int, yaml.Node, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key.value, value, _line(key)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield index, value, _line(value)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


_SCALARS = yaml.SafeLoader("")
"""Turns a scalar node into int, float, bool or None, and merges `<<`; holds no state between nodes."""
