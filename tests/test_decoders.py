"""Types are met before there are threads: msgspec breaks down when two threads meet one together."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gaitstream"
MET_IN_A_CALL = re.compile(r"msgspec\.(?:json|msgpack)\.decode\([^\n]*\btype=")


@pytest.mark.parametrize("room", ["console", "evidence", "gallery", "telemetry"])
def test_what_threads_decode_has_a_decoder_of_the_module(room: str) -> None:
    alone = {PACKAGE / "console" / "worker.py"}  # a process of its own, with one thread
    files = [path for path in (PACKAGE / room).rglob("*.py") if path not in alone]
    found = [path for path in files if MET_IN_A_CALL.search(path.read_text(encoding="utf-8"))]
    assert not found, "make a Decoder at the top of the module"
