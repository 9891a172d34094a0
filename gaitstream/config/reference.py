"""The configuration reference in Markdown, from the descriptions in `config`."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gaitstream.config.descriptions import describe_sections
from gaitstream.config.schema import Config
from gaitstream.config.secret_url import SecretUrl

HEAD = """# Configuration reference

This page is generated: `gaitstream config reference > docs/configuration.md`. `gaitstream config check FILE`
checks a file, `gaitstream config schema` prints its JSON Schema for editors.

```yaml
cameras:
  - id: lobby
    url: rtsp://viewer:${RTSP_PASSWORD}@10.0.0.5/stream1
    fps: 15
    regions: [[[100, 200], [1800, 200], [1800, 1080], [100, 1080]]]
    region_size: [1920, 1080]
  - {id: archive, url: recordings/monday.mp4, start_time: 2026-03-02T08:00:00Z}
models:
  detector: models/yolox_s.onnx
  recognizers: {gait: bundles/gait}
gallery: {path: people.gallery}
```

- `${NAME}` is replaced from the environment, `${NAME:-default}` has a fallback, `$$` is one dollar sign. A
  variable that is not set is an error. URLs are shown with credentials masked wherever they are shown.
- Paths are relative to the file. A model is a path when it has a `/` or ends in `.onnx`, `.json`, `.yaml`
  or `.yml`; otherwise it is a name of the model zoo.
- Unknown keys are errors that name the file, the line and the nearest key. Top-level keys that begin
  with `x-` are left alone, for YAML anchors; `<<` merges.
- Pictures whose pixels are not square (704 x 576 at 4:3, anamorphic 16:9) are made as wide as they are
  shown: boxes, regions and saved pictures are in pixels of these. `pixel_aspect` gives their shape where the
  stream does not, or gives it wrong: 12:11 for 704 x 576 at 4:3, 16:11 for it at 16:9, 10:11 and 40:33 for
  704 x 480, 6:11 for 704 x 288, 24:11 for 352 x 576.
- While `gaitstream run` is running, a change of the file adds, removes and changes cameras without
  touching the others, and takes over `quality`, the gallery's `threshold`, `threshold_gain` and `margin`,
  `tracklets.every`, `settled_after` and `settled_every`, `runtime.latency_ms` and `events.stats_every_s`.
  Other changes are reported and wait for a restart. A file that is wrong changes nothing.
"""


def reference() -> str:
    """The whole page."""
    describe_sections()
    return "\n".join([HEAD, *_sections("", Config, "Top level")])


def _sections(path: str, model: type[BaseModel], title: str) -> Iterator[str]:
    """A table for a section, then one for each section in it."""
    inner: list[tuple[str, type[BaseModel], str]] = []
    yield f"## {title}\n\n| key | type | default | meaning |\n|---|---|---|---|"
    for key, field in model.model_fields.items():
        section = _section_of(field.annotation)
        where = f"{path}{key}"
        if section is not None:
            inner.append((f"{where}{_step(field.annotation)}.", section, f"`{where}`"))
        meaning = (field.description or "").replace("\n", " ").replace("|", "\\|")
        yield f"| `{key}` | {_type(field)} | {_default(field, section)} | {meaning} |"
    yield ""
    for where, section, name in inner:
        yield from _sections(where, section, name)


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _section_of(arg))), None)


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) is list or any(_is_list(arg) for arg in get_args(annotation))


def _step(annotation: Any) -> str:
    """What stands between a section and its keys: a place in a list, a name in a mapping."""
    return ".NAME" if get_origin(annotation) is dict else "[]" if _is_list(annotation) else ""


def _default(field: FieldInfo, section: type[BaseModel] | None) -> str:
    if field.is_required():
        return "required"
    if section is not None and field.default:
        return "see below"
    value = field.default
    if value == {}:
        return "none"
    if isinstance(value, bool) or value is None:
        return {True: "`true`", False: "`false`", None: "`null`"}[value]
    return f"`{value}`"


def _type(field: FieldInfo) -> str:
    limits = ", ".join(text for item in field.metadata if (text := _limit(item)))
    return _name(field.annotation) + (f" {limits}" if limits else "")


def _limit(item: Any) -> str:
    """`annotated_types` constraints in words."""
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    parts = [f"{sign} {getattr(item, name):g}" for name, sign in signs.items() if hasattr(item, name)]
    return ", ".join(parts)


def _name(annotation: Any) -> str:
    """A type in the reader's words."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        limits = ", ".join(text for item in args[1:] for text in _limits_in(item))
        return _name(args[0]) + (f" {limits}" if limits else "")
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in args)
    if origin in (Union, types.UnionType):
        return " or ".join(_name(arg) for arg in args if arg is not type(None))
    if origin is dict:
        return f"{_name(args[1])} by name"
    if origin is list:
        return f"list of {_name(args[0])}"
    if origin is tuple:
        return f"[{', '.join(_name(arg) for arg in args)}]"
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true or false",
        SecretUrl: "URL or path",
    }
    if annotation in names:
        return names[annotation]
    return {"Path": "path", "datetime": "time"}.get(getattr(annotation, "__name__", ""), "section")


def _limits_in(item: Any) -> Iterator[str]:
    for constraint in getattr(item, "metadata", [item]):
        if text := _limit(constraint):
            yield text
