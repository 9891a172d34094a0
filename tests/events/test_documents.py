"""JSON Schema, AsyncAPI and the table of fields say what the structs are."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from gaitstream.events import Event
from gaitstream.events.codec import Stamp, encode
from gaitstream.events.documents import asyncapi, field_table, json_schema, kinds, meanings
from tests.events.test_schema import EVENTS

jsonschema = pytest.importorskip("jsonschema")
PAGE = Path(__file__).parents[2] / "docs" / "events.md"


@pytest.mark.parametrize(("event", "_"), EVENTS, ids=lambda value: getattr(type(value), "__name__", ""))
def test_every_published_event_fits_its_schema(event: Event, _: str) -> None:
    data = msgspec.json.decode(Stamp("p" * 32, "e" * 16).encode(event, 1, 5))
    jsonschema.Draft202012Validator(json_schema()).validate(data)


def test_what_is_no_event_does_not_fit() -> None:
    validator = jsonschema.Draft202012Validator(json_schema())
    whole = msgspec.json.decode(Stamp("p" * 32, "e" * 16).encode(EVENTS[0][0], 1, 5))
    for change in ({"type": "identity.guessed"}, {"track": "three"}, {"schema": 1}, {"seq": None}):
        assert not validator.is_valid(whole | change)
    assert not validator.is_valid(msgspec.json.decode(encode(EVENTS[0][0])) | {"event_id": 5})
    assert not validator.is_valid({name: value for name, value in whole.items() if name != "event_id"})


def test_the_examples_are_all_kinds() -> None:
    assert {type(event) for event, _ in EVENTS} >= set(kinds())


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi()
    text = msgspec.json.encode(document).decode()
    references = set(re.findall(r'"\$ref":"#/([^"]+)"', text))
    assert len(references) > 20
    for reference in references:
        place = document
        for step in reference.split("/"):
            place = place[step]
    assert {message["name"] for message in document["components"]["messages"].values()} == {
        str(kind.__struct_config__.tag) for kind in kinds()
    }


def test_every_field_is_described() -> None:
    for kind in kinds():
        for field in msgspec.structs.fields(kind):
            assert meanings(kind).get(field.name), f"{kind.__name__}.{field.name}"


def test_the_table_of_the_page_is_current() -> None:
    between = PAGE.read_text().split("<!-- fields:begin -->\n")[1].split("<!-- fields:end -->")[0]
    assert between == field_table(), "run: gaitstream events schema --table"
