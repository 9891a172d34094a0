"""The REST interface against its own OpenAPI document: no request may break it, no answer may surprise."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings

from gaitstream.console import jobs
from gaitstream.console.app import create_app
from gaitstream.console.options import ConsoleOptions
from gaitstream.console.permissions import Permission, Role
from gaitstream.console.site import ConsoleSite
from tests.console.conftest import BASE, PASSWORD
from tests.console.making import final, stranger

EXAMPLES = int(os.environ.get("GAITSTREAM_FUZZ_EXAMPLES", "2"))
"""Of each operation; more in a longer run."""
BOUNDS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def client(tmp_path: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A program that may do everything."""
    monkeypatch.setattr(jobs, "MOST_WAITING", 1)  # trials of cameras start processes
    cams = tmp_path / "cams.yaml"
    cams.write_text("cameras: [{id: gate, url: /dev/null}]\n")
    site = ConsoleSite.open(ConsoleOptions(tmp_path / "state", cameras=cams, gallery=gallery, key="none"))
    site.accounts.add("boss", PASSWORD, Role.ADMINISTRATOR)
    site.history.add([final(1), stranger(2)])
    token = site.accounts.new_token("boss", "fuzz", frozenset(Permission))
    headers = {"Authorization": f"Bearer {token}"}
    yield TestClient(create_app(site), base_url=BASE, headers=headers, raise_server_exceptions=False)
    site.close()


def test_every_operation_answers_as_its_document_says(client: TestClient) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis, of the group test")
    schema = schemathesis.openapi.from_dict(client.app.openapi())  # type: ignore[attr-defined]
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 35
    for operation in operations:
        BOUNDS(given(case=operation.as_strategy())(_ask(client)))()


def _ask(client: TestClient) -> Any:
    from schemathesis.checks import CHECKS

    held = CHECKS.get_by_names(
        [
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
        ]
    )

    def ask(case: Any) -> None:
        asked = case.as_transport_kwargs(base_url=BASE)
        asked = {name: value for name, value in asked.items() if name != "cookies"}
        headers = dict(client.headers) | dict(asked.pop("headers", {}))
        headers["Authorization"] = client.headers["Authorization"]
        if "data" in asked:
            asked["content"] = asked.pop("data")
        case.validate_response(client.request(**asked, headers=headers), checks=held)

    return ask
