"""Write a synthetic site on which two front ends can be compared: films with ground truth, and a gallery.

    python scripts/verify_site.py --out DIR [--biggait BUNDLE] [--gaitheat BUNDLE]

Without a bundle the packaged demo model is used, with the threshold it comes with; for others the gallery
calibrates itself. All but two of the people are enrolled, under the names in `identities.json`, from walks on
another day, with the native front end. `DIR/cams.yaml` runs on both.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from gaitstream.cli.script import run_script
from gaitstream.config.reading import load_config
from gaitstream.pipeline.enroll import enroll_walk, watch_video
from gaitstream.synth import sample_identity
from gaitstream.synth.address import Address, to_url
from gaitstream.synth.dataset import write_dataset
from gaitstream.zoo import advice

DEMO = {"gaitheat": "demo"}
STRANGERS = 2
SEED = 7
ENROLMENT_DAY = 1


def write_site(
    root: Path, models: dict[str, str], people: int, seconds: float, cameras: int, runtime: str
) -> Path:
    """Write the films and a `cams.yaml` with models, runtime and gallery; returns its path."""
    world = Address(site="plaza", people=people, seed=SEED, seconds=seconds)
    path = write_dataset([replace(world, camera=number + 1) for number in range(cameras)], root)
    site: dict[str, Any] = yaml.safe_load(path.read_text())
    site["models"] = {"detector": "demo", **models}
    site["runtime"] = {"name": runtime}
    site["gallery"] = {"path": "people.gallery"}
    if models == DEMO:
        advised = advice()
        site["gallery"].update(threshold=advised.threshold, margin=advised.margin)
    sockets = f"ipc://{root.resolve()}"
    site["events"] = {"journal": "journal", "endpoint": f"{sockets}/events", "replay": f"{sockets}/replay"}
    site["deepstream"] = {"width": world.width, "height": world.height, "source_fps": world.fps}
    path.write_text(yaml.safe_dump(site, sort_keys=False))
    return path


def enrol(cams: Path, people: int, seconds: float) -> None:
    """Enrol each person from a walk alone before the first camera; the gallery calibrates itself."""
    config = load_config(cams)
    walk = Address(site="plaza", people=people, seed=SEED, day=ENROLMENT_DAY, seconds=seconds)
    for person in range(people - STRANGERS):
        name = sample_identity(SEED, person).name
        url = to_url(replace(walk, only=(person,)))
        templates = sum(
            enroll_walk(config, name, one, "verify")
            for one in watch_video(config, url, match=False)
            if one.full
        )
        print(f"{name}: {templates} templates", flush=True)
        if not templates:
            raise SystemExit(f"{name} was never seen well enough to be enrolled")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--biggait", metavar="BUNDLE")
    parser.add_argument("--gaitheat", metavar="BUNDLE")
    parser.add_argument("--runtime", default="auto", metavar="NAME", help="of the native front end")
    parser.add_argument("--people", type=int, default=6, metavar="N")
    parser.add_argument("--cameras", type=int, default=2, metavar="N")
    parser.add_argument("--seconds", type=float, default=40.0, metavar="S", help="length of films and walks")
    args = parser.parse_args()
    given = {"biggait": args.biggait, "gaitheat": args.gaitheat}
    models = {kind: bundle for kind, bundle in given.items() if bundle} or DEMO
    (args.out / "people.gallery").unlink(missing_ok=True)
    cams = write_site(args.out, models, args.people, args.seconds, args.cameras, args.runtime)
    enrol(cams, args.people, args.seconds)
    print(cams)


if __name__ == "__main__":
    run_script(main)
