"""`gaitstream bench` with everything that stands beside gaitstream: `python -m benchmarks [SUITE...]`.

The recognizer suite gains PyTorch, eager and compiled; the suite `comparison` runs whole assemblies. It needs
a checkout of the source and the extra [export].
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from benchmarks import comparison, torch_recognizer
from gaitstream.bench.command import run_and_write
from gaitstream.bench.suites import SUITES
from gaitstream.cli.bench import add_arguments
from gaitstream.cli.commands.bench import settings_of
from gaitstream.errors import GaitstreamError

ALL = {**SUITES, "comparison": comparison.run}


def main() -> int:
    """Run suites; 1 when one failed, 130 when interrupted."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=f"Suites: {', '.join(ALL)}.")
    add_arguments(parser)
    args = parser.parse_args()
    settings = replace(settings_of(args), extra=torch_recognizer.contenders)
    try:
        return run_and_write(args.suites, settings, args.out, ALL, fail_if_worse=args.fail_if_worse)
    except GaitstreamError as error:
        parser.exit(error.exit_code, f"{parser.prog}: {error}\n")
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
