"""Commands of the group run."""

from __future__ import annotations

import argparse

from gaitstream.evidence.observing import open_observers
from gaitstream.pipeline.base import RunOptions
from gaitstream.runners.launch import launch


def run(args: argparse.Namespace) -> int:
    """Run the pipeline until it ends, with a console beside it where one is asked for."""
    if not args.console:
        return launch(options_of(args))
    from gaitstream.cli.commands.console import companion_of  # a run without it starts sooner

    with companion_of(args).beside() as address:
        print(f"console at {address}", flush=True)
        return launch(options_of(args))


def options_of(args: argparse.Namespace) -> RunOptions:
    """What the command line adds to the configuration."""
    return RunOptions(
        config=args.cameras,
        runner=args.runner,
        realtime=args.realtime,
        workers=args.workers,
        save_video=args.save_video,
        save_tracklets=args.save_tracklets,
        json_logs=args.json,
        table=False if args.no_table else None,
        metrics_port=args.metrics_port,
        verbose=args.verbose,
        frontend=args.frontend,
        view=args.view,
        insecure=args.insecure,
        observe=(open_observers,),
    )
