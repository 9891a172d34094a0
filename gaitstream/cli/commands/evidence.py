"""What the commands about evidence do."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from gaitstream.config.places import evidence_folder, journal_folder
from gaitstream.config.reading import load_config
from gaitstream.config.schema import Config
from gaitstream.errors import ConfigError, EvidenceError
from gaitstream.events.readable import one_line
from gaitstream.evidence.bundles import EvidenceBundle, read_bundle
from gaitstream.evidence.exporting import export, find_event
from gaitstream.evidence.folder import SealedFolder
from gaitstream.evidence.live import part_of
from gaitstream.evidence.live_client import watch
from gaitstream.evidence.live_server import live_folder
from gaitstream.evidence.replaying import Compared, replay
from gaitstream.evidence.signing import Signer, check_signer, known_signers, parse_key
from gaitstream.gallery import Gallery
from gaitstream.pipeline.known import open_configured


def export_event(args: argparse.Namespace) -> int:
    """`evidence export`."""
    config = load_config(args.cameras)
    event = find_event(args.journal or journal_folder(config, args.cameras), args.event)
    target = args.out or args.cameras.parent / f"{args.event}.evidence.zip"
    with open_gallery(args, config) as gallery:
        folder = SealedFolder.of(evidence_folder(config, args.cameras), gallery)
        done = export(folder, gallery, event, target, args.templates)
    print(f"{done.path}, signed by {done.signer}")
    for note in done.notes:
        print(f"note: {note}")
    return 0


def verify(args: argparse.Namespace) -> int:
    """`evidence verify`."""
    bundle = read_bundle(args.file)
    check_signer(bundle.signer, _signers(args), str(args.file))
    print(f"{args.file} is whole and as it was exported, signed by {bundle.signer}")
    _tell(bundle)
    return 0


def replay_bundle(args: argparse.Namespace) -> int:
    """`evidence replay`."""
    bundle = read_bundle(args.file)
    _tell(bundle)
    try:
        check_signer(bundle.signer, _signers(args), str(args.file))
    except EvidenceError as error:
        if args.signer is not None or args.cameras is not None:
            raise
        print(f"warning: {error}")
    done = replay(bundle)
    for value in done.values:
        _say(_compared(value))
    print(f"{done.computed} distances were computed again, {done.recorded} taken as they were signed")
    print("the decision is the same" if done.same else "the decision is NOT the same")
    return int(not done.same)


def key(args: argparse.Namespace) -> int:
    """`evidence key`."""
    with open_gallery(args, load_config(args.cameras)) as gallery:
        print(Signer.of(gallery).key)
    return 0


def live(args: argparse.Namespace) -> int:
    """`evidence live`."""
    if sys.stdout.isatty():
        raise ConfigError("live pictures are no text: send them into a file or a program, with > or |")
    folder = live_folder(evidence_folder(load_config(args.cameras), args.cameras))
    asyncio.run(_pass_on(folder, args.camera))
    return 0


def open_gallery(args: argparse.Namespace, config: Config) -> Gallery:
    """The gallery whose key opens the evidence.

    Raises:
        ConfigError: the configuration names none, or it is not there.
    """
    gallery = open_configured(config)
    if gallery is None:
        raise ConfigError(f"{args.cameras} names no gallery that is there: its key opens the evidence")
    return gallery


async def _pass_on(folder: Path, camera: str) -> None:
    async for picture in watch(folder, camera):
        sys.stdout.buffer.write(part_of(picture))
        sys.stdout.buffer.flush()


def _signers(args: argparse.Namespace) -> set[str]:
    """Who may have signed: as the command line says, or whoever is known to this user."""
    if args.signer is not None:
        return {parse_key(args.signer)}
    if args.cameras is not None:
        with open_gallery(args, load_config(args.cameras)) as gallery:
            return {Signer.of(gallery).key}
    return known_signers()


def _tell(bundle: EvidenceBundle) -> None:
    manifest = bundle.manifest
    event, evidence = manifest.event, manifest.evidence
    _say(
        f"event {event.get('event_id')} ({event.get('type')}) of camera {evidence.key.camera}, track "
        f"{evidence.key.track} of run {evidence.key.run}, captured {event.get('captured_at')}"
    )
    _say(
        f"{len(manifest.pictures)} pictures, {len(manifest.windows)} windows, templates of "
        f"{len({one.person for one in manifest.templates})} people; configuration "
        f"{evidence.config_hash[:12]}, models "
        + ", ".join(f"{model} {fingerprint[:12]}" for model, fingerprint in evidence.models.items())
    )
    for note in manifest.notes:
        _say(f"note: {note}")


def _say(text: str) -> None:
    """Print a line that has texts of a bundle in it, which anybody may have made."""
    print(one_line(text))


def _compared(value: Compared) -> str:
    mark = "same" if value.same else "OTHER"
    return f"{mark:6}{value.name}: {_plain(value.before)}, again {_plain(value.again)}"


def _plain(value: object) -> str:
    return f"{value:.6f}" if isinstance(value, float) else "none" if value is None else str(value)
