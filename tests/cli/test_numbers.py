"""Numbers on the command line."""

from __future__ import annotations

import argparse

import pytest

from gaitstream.cli import main
from gaitstream.cli.numbers import MOST_DAYS, counting, days, natural, positive
from gaitstream.config import fields


def test_numbers_are_read() -> None:
    assert (natural("0"), natural("12")) == (0, 12)
    assert (positive("0.5"), positive("1e3")) == (0.5, 1000.0)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "two", "\u00b2", "9" * 5000])
def test_what_is_no_whole_number_is_named(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number from 0"):
        natural(text)


@pytest.mark.parametrize("text", ["", "0", "-3", "1.5", "two", "\u00b2", "9" * 5000])
def test_what_counts_nothing_is_named(text: str) -> None:
    assert counting("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="is not a whole number from 1"):
        counting(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "nan", "inf", "1000000", "two"])
def test_what_is_no_positive_number_is_named(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a positive number below 1000000"):
        positive(text)


def test_days_are_those_of_the_configuration() -> None:
    assert MOST_DAYS == fields.MOST_DAYS
    assert (days("0.5"), days("36500")) == (0.5, 36500.0)


@pytest.mark.parametrize("text", ["", "0", "-5", "nan", "inf", "1e12", "36501", "5000000", "two"])
@pytest.mark.parametrize(
    "command",
    [
        ["gallery", "keep", "Ada", "--gallery", "g", "--days"],
        *(["gallery", "sweep", "--gallery", "g", f"--{what}-days"]
          for what in ("person", "picture", "visitor", "sighting", "evidence")),
        ["console", "--keep-days"],
    ],
)  # fmt: skip
def test_days_that_cannot_be_are_named(
    command: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([*command[:-1], f"{command[-1]}={text}"])
    assert f"{text!r} is no number of days above 0, 36500 at most" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["events", "tail", "--count", "0"],
        ["watch", "--count", "-3"],
        ["build", "model.onnx", "--threads", "0"],
        ["build", "model.onnx", "--threads", "-3"],
    ],
)
def test_a_count_is_one_or_more(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "is not a whole number from 1" in capsys.readouterr().err


@pytest.mark.parametrize("timeout", ["-1", "nan", "0"])
def test_a_timeout_is_positive(timeout: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["sink", "webhook", "--journal", "j", "--url", "http://h/", "--timeout", timeout])
    assert "is not a positive number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["plan", "--cameras", "3", "--fps", "fast"], ["synth", "--out", "o", "--seconds", "fast"]],
)
def test_commands_say_the_same(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "'fast' is not a positive number below 1000000" in capsys.readouterr().err
