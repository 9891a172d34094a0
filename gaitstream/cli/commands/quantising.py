"""The command `quantise`: a detector or pose model in int8."""

from __future__ import annotations

import argparse
import sys

from gaitstream.cli.commands.ending import tidy_at_the_end
from gaitstream.errors import MissingExtraError


def quantise(args: argparse.Namespace) -> int:
    """Quantise, and print the proof; 1 when int8 is not as good."""
    try:
        from gaitstream.export.networks import quantise_network
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "onnx", "export", "Quantising a graph") from error
    with tidy_at_the_end():
        report = quantise_network(args.kind, args.model, args.out, args.calibration, _say)
    for line in report.sentences():
        print(line)
    return 0 if report.kept else 1


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
