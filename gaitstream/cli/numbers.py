"""Numbers on the command line: types for argparse that say what is allowed."""

from __future__ import annotations

import argparse

MOST_DAYS = 36_500


def is_whole(text: str) -> bool:
    """Whether it is a whole number from 0, written in digits and no longer than numbers are."""
    return text.isascii() and text.isdecimal() and len(text) < 19


def natural(text: str) -> int:
    """A whole number from 0."""
    if not is_whole(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def counting(text: str) -> int:
    """A whole number from 1."""
    if not (is_whole(text) and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def days(text: str) -> float:
    """For how many days something is kept: as in cams.yaml, above 0, a hundred years at most."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= MOST_DAYS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days above 0, {MOST_DAYS} at most")
    return value


def positive(text: str) -> float:
    """A number above 0, below a million."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number below 1000000")
    return value
