"""The events as documents for other programs: JSON Schema and AsyncAPI, made from the structs."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args

import msgspec

from gaitstream.addresses import DEFAULT_ENDPOINT
from gaitstream.events.schema import SCHEMA, AnyEvent, CameraStats, Event
from gaitstream.events.wire import EventBatch, Heads, Reply, Request, next_endpoint

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ENTRY = re.compile(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)

Document = dict[str, Any]


def kinds() -> tuple[type[Event], ...]:
    """The struct of every kind of event, in the order of the documents."""
    return get_args(AnyEvent)


def json_schema() -> Document:
    """JSON Schema (2020-12) of a published event: one of the kinds, told by `type`.

    A published event has the whole envelope, so those fields are required here.
    """
    return {
        "$schema": DIALECT,
        "$id": f"urn:gaitstream:events:{SCHEMA}",
        "title": "gaitstream event",
        "oneOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds()],
        "$defs": _components("#/$defs/{name}"),
    }


def asyncapi() -> Document:
    """AsyncAPI 3.0: the channels of the publishing socket, with every event as a message."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "gaitstream events",
            "version": f"{SCHEMA}.0.0",
            "description": "ZeroMQ PUB: a message of two parts, topic and payload. See docs/events.md.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "publisher": {"host": _host(DEFAULT_ENDPOINT), "protocol": "zmtp"},
            "replay": {"host": _host(next_endpoint(DEFAULT_ENDPOINT)), "protocol": "zmtp"},
        },
        "channels": {family: _channel(family) for family in _families()},
        "operations": {
            f"receive-{family}": {"action": "receive", "channel": {"$ref": f"#/channels/{family}"}}
            for family in _families()
        },
        "components": {
            "schemas": _components("#/components/schemas/{name}") | _wire("#/components/schemas/{name}"),
            "messages": {
                kind.__name__: {
                    "name": _tag(kind),
                    "summary": _summary(kind),
                    "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
                }
                for kind in kinds()
            },
        },
    }


def field_table() -> str:
    """A Markdown table of every field of every kind, for docs/events.md."""
    lines = ["| kind | field | type | meaning |", "|---|---|---|---|"]
    shared = {field.name for field in msgspec.structs.fields(Event)}
    lines += [_row("all", "type", "text", "the kind")]
    lines += [_row("all", *entry) for entry in _fields(Event, set())]
    told: dict[str, set[str]] = {}
    for kind in kinds():
        base = kind.__mro__[1]
        if base is not Event and issubclass(base, Event):
            if base.__name__ not in told:
                lines += [_row(f"`{base.family}.*`", *entry) for entry in _fields(base, shared)]
                told[base.__name__] = {field.name for field in msgspec.structs.fields(base)}
            continue
        lines += [_row(f"`{_tag(kind)}`", *entry) for entry in _fields(kind, shared)]
    lines += [_row("a camera in `pipeline.stats`", *entry) for entry in _fields(CameraStats, set())]
    return "\n".join(lines) + "\n"


def _components(template: str) -> Document:
    _, components = msgspec.json.schema_components(kinds(), ref_template=template)
    envelope = [field.name for field in msgspec.structs.fields(Event) if field.name not in _OPTIONAL]
    structs: dict[str, type] = {kind.__name__: kind for kind in kinds()} | {"CameraStats": CameraStats}
    for name, schema in components.items():
        struct = structs[name]
        schema["description"] = _summary(struct)
        texts = meanings(struct)
        for field, described in schema["properties"].items():
            if field in texts:
                described["description"] = texts[field]
        if issubclass(struct, Event):
            schema["required"] = sorted({"type", *envelope, *schema.get("required", ())})
            schema["properties"]["schema"]["const"] = SCHEMA
            for stamp in ("captured_at", "published_at"):
                schema["properties"][stamp]["format"] = "date-time"
            schema["properties"]["event_id"]["format"] = "uuid"
    return components


_OPTIONAL = ("run", "latency_ms", "models")


def _wire(template: str) -> Document:
    _, components = msgspec.json.schema_components((EventBatch, Heads, Request, Reply), ref_template=template)
    return components


def _families() -> list[str]:
    return list(dict.fromkeys(kind.family for kind in kinds()))


def _channel(family: str) -> Document:
    members = [kind for kind in kinds() if kind.family == family]
    by_camera = any(field.name == "camera" for kind in members for field in msgspec.structs.fields(kind))
    channel: Document = {
        "address": f"{family}/{{camera}}" if by_camera else family,
        "messages": {kind.__name__: {"$ref": f"#/components/messages/{kind.__name__}"} for kind in members},
    }
    if by_camera:
        channel["parameters"] = {"camera": {"description": "id of the camera in cams.yaml"}}
    return channel


def meanings(struct: type) -> dict[str, str]:
    """What the docstrings of a struct and its bases say of each field."""
    found: dict[str, str] = {}
    for base in reversed(struct.__mro__):
        text = inspect.getdoc(base) or ""
        for name, meaning in _ENTRY.findall(text):
            found[name] = " ".join(meaning.split()).replace(" (publisher)", "")
    return found


def _fields(struct: type, without: set[str]) -> list[tuple[str, str, str]]:
    texts = meanings(struct)
    fields = msgspec.structs.fields(struct)
    return [(f.name, _type(f.type), texts.get(f.name, "")) for f in fields if f.name not in without]


def _type(annotation: Any) -> str:
    text = (
        str(annotation) if not isinstance(annotation, type) or get_args(annotation) else annotation.__name__
    )
    for before, after in (
        ("gaitstream.events.schema.", ""), ("str", "text"), ("int", "whole number"), ("float", "number"),
        ("bool", "true or false"), ("None", "null"), (" | ", " or "), ("tuple[", "list["),
        ("dict[", "object["),
        (", ...", ""),
    ):  # fmt: skip
        text = text.replace(before, after)
    return text


def _row(kind: str, name: str, type_: str, meaning: str) -> str:
    return f"| {kind} | `{name}` | {type_} | {meaning.replace('|', '&#124;')} |"


def _tag(kind: type[Event]) -> str:
    return str(kind.__struct_config__.tag)


def _summary(struct: type) -> str:
    return (inspect.getdoc(struct) or "").split("\n\n")[0]


def _host(endpoint: str) -> str:
    return endpoint.removeprefix("tcp://")
