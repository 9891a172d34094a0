"""`gaitstream config check`."""

from __future__ import annotations

import argparse
from pathlib import Path

from gaitstream.config.reading import load_config
from gaitstream.errors import ConfigError
from gaitstream.pipeline.known import check_gallery, gallery_warnings
from gaitstream.pipeline.probing import missing, probe


def check(args: argparse.Namespace) -> int:
    """Check a file, and with `--open` its cameras."""
    config = load_config(args.file)
    problems = missing(Path(args.file), config, cameras=not args.open)
    if problems:
        raise ConfigError("\n".join(problems))
    check_gallery(config)
    warnings = gallery_warnings(config)
    enabled = sum(camera.enabled for camera in config.cameras)
    print(f"{args.file}: correct; {len(config.cameras)} cameras, {enabled} enabled")
    path = config.gallery.path
    if path is not None and not path.exists():
        print(f"  gallery {path} does not exist yet: nobody is known until 'gaitstream enroll' makes it")
    for line in warnings:
        print(f"  {line}")
    if not args.open:
        return 0
    answers = probe(config)
    for answer in answers:
        size = f"{answer.size[0]} x {answer.size[1]}" if answer.size else "no picture"
        print(f"  {answer.camera}: {answer.problem or size}")
    return int(any(answer.problem for answer in answers))
