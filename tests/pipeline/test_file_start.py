"""When a recording begins: one rule for both front ends and for folders of pictures."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gaitstream.config.camera_sections import Camera
from gaitstream.config.secret_url import SecretUrl
from gaitstream.deepstream.spec import start_of
from gaitstream.pipeline.source.clock import file_start_ns

MARCH = datetime(2026, 3, 2, 8, tzinfo=UTC)
MARCH_NS = 1772438400 * 10**9
WRITTEN_NS = 1_700_000_000 * 10**9


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"no video")
    os.utime(path, ns=(WRITTEN_NS, WRITTEN_NS))
    return path


@pytest.mark.parametrize(
    ("given", "recorded", "expected"),
    [
        (MARCH, "2020-01-01T00:00:00Z", MARCH_NS),
        (MARCH.replace(tzinfo=None), "", MARCH_NS),
        (None, "2026-03-02T08:00:00.000000Z", MARCH_NS),
        (None, "2026-03-02T09:00:00+01:00", MARCH_NS),
        (None, "2026-03-02T08:00:00", MARCH_NS),
        (None, "", WRITTEN_NS - 5_000_000_000),
        (None, "yesterday", WRITTEN_NS - 5_000_000_000),
        (None, "1904-01-01T00:00:00Z", WRITTEN_NS - 5_000_000_000),
        (None, "9999-12-31T23:59:59-10:00", WRITTEN_NS - 5_000_000_000),
    ],
)
def test_the_configuration_then_the_metadata_then_the_date(
    given: datetime | None, recorded: str, expected: int, file: Path
) -> None:
    assert file_start_ns(file, given, recorded, 5_000_000_000, otherwise_ns=7) == expected


def test_a_length_of_thousands_of_years_is_left_out(file: Path) -> None:
    assert file_start_ns(file, None, "", 9000 * 366 * 86400 * 10**9, otherwise_ns=7) == WRITTEN_NS


def test_what_is_no_file_begins_now(tmp_path: Path) -> None:
    assert file_start_ns(tmp_path / "gone", None, otherwise_ns=7) == 7
    assert file_start_ns(tmp_path / "gone", MARCH, otherwise_ns=7) == MARCH_NS


def test_deepstream_asks_the_same_and_lives_with_a_file_that_is_no_video(file: Path) -> None:
    assert start_of(Camera(id="a", url=SecretUrl(str(file)))) == WRITTEN_NS
    assert start_of(Camera(id="a", url=SecretUrl(str(file)), start_time=MARCH)) == MARCH_NS
