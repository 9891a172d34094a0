"""`gaitstream tune`."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from gaitstream.config.reading import load_config
from gaitstream.models.detector import find_detector
from gaitstream.models.resolve import is_path
from gaitstream.runners.launch import live_table, signals
from gaitstream.tune.findings import advise
from gaitstream.tune.report import as_data, check_place, describe, write
from gaitstream.tune.watch import Around, watch_site


def tune(args: argparse.Namespace) -> int:
    """Watch, say what was found, write the file."""
    config = load_config(args.cameras)
    file = args.cameras.resolve() if args.cameras.is_symlink() else args.cameras
    to = args.out or file.with_suffix(".tuned.yaml")
    check_place(args.cameras, to)
    detectors = [_anchored(model) for model in args.detector]
    for model in detectors:
        find_detector(model)
    count = sum(camera.enabled for camera in config.cameras)
    _say(f"watching {count} cameras for {args.minutes:g} min; Ctrl-C ends sooner")
    around: list[Around] = [lambda runner: signals(runner.stop)]
    if sys.stderr.isatty() and not args.json:
        around.append(lambda runner: live_table(runner, Console(stderr=True)))
    when = datetime.now(UTC)
    site = watch_site(config, 60 * args.minutes, tuple(around))
    found = advise(site, detectors)
    for one in found if args.json else ():
        print(json.dumps(as_data(one, config), ensure_ascii=False))
    for line in () if args.json else describe(found, config):
        print(line)
    if not any(True for _ in site.watched):
        _say("no camera gave a picture: no file is written")
        return 1
    values = write(found, config, args.cameras, to, when)
    _say(f"wrote {to}: {values} values set; compare it with {args.cameras}, and take what is right")
    return 0


def _anchored(model: str) -> str:
    """A detector's path as it can stand in any file."""
    return str(Path(model).resolve()) if is_path(model) else model


def _say(text: str) -> None:
    print(text, file=sys.stderr)
