"""Measure what becomes of strangers: 60 people the demo weights never saw, four cameras, two days.

    python scripts/evaluate_visitors.py                      # renders, then measures; several minutes
    python scripts/evaluate_visitors.py --cache FILE.npz     # keeps the embeddings there

Everybody passes every camera once a day, in other clothes on the second; two windows a pass. The
walks come in the order of days and of people within a day, camera by camera, and are noted in a gallery as a
run notes them, with the linking distance that the demo's recommended threshold gives. Then each person's
largest visitor is promoted by name. What is printed, and with --record kept in the demo's `metrics.json`:

    purity           share of walks that are the majority's of their visitor
    per_person       visitors per person, of people with three windows or more
    wrong_promotions promotions of a visitor most of whose walks are somebody else's
    wrong_tracks     earlier tracks told with a promotion that are somebody else's, of all told
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from demo_crowds import DEMO, Visits, visit

from gaitstream import zoo
from gaitstream.config.schema import Config
from gaitstream.gallery import Gallery
from gaitstream.gallery.keys import NONE
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.sightings import KeptWindows, Sighting, TrackRef
from gaitstream.gallery.visiting import VisitorBook
from gaitstream.gallery.visitors import promote
from gaitstream.pipeline.visits import site_rule

SEED = 777
MODEL = "gaitheat"
SECOND = 10**9
DAY_S = 86_400
FEW = 3
"""Windows from which on somebody counts in `per_person`."""


def sightings(visits: Visits, fingerprint: str) -> list[tuple[int, Sighting]]:
    """Person and sighting of every walk, in the order of time."""
    walks: dict[tuple[int, int, int], list[np.ndarray]] = defaultdict(list)
    labels = zip(visits.days.tolist(), visits.people.tolist(), visits.cameras.tolist(), strict=True)
    for label, embedding in zip(labels, visits.embeddings, strict=True):
        walks[label].append(embedding)
    found = []
    for number, ((day, person, camera), windows) in enumerate(sorted(walks.items())):
        at = (day * DAY_S + number * 20) * SECOND
        track = TrackRef("run", f"cam{camera}", number, at + 4 * SECOND)
        kept = {MODEL: KeptWindows.of(windows, fingerprint)}
        found.append((person, Sighting(track=track, first_ns=at, windows=kept)))
    return found


def measure(visits: Visits, rule: LinkRule, fingerprint: str) -> dict[str, float]:
    """Note all walks in a new gallery, promote, and count."""
    walked = sightings(visits, fingerprint)
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery(Path(folder) / "gallery", create=True, key=NONE) as gallery,
    ):
        book = VisitorBook(gallery, {MODEL: fingerprint}, rule)
        noted = [book.note([sighting])[0] for _, sighting in walked]
        truth = {str(sighting.track): person for person, sighting in walked}
        people_of: dict[str, Counter[int]] = defaultdict(Counter)
        for one in noted:
            people_of[one.visitor][truth[str(one.sighting.track)]] += 1
        right = sum(max(counts.values()) for counts in people_of.values())
        windows = Counter(visits.people.tolist())
        seen = [person for person in windows if windows[person] >= FEW]
        visitors = [sum(person in counts for counts in people_of.values()) for person in seen]
        return {
            "strangers": len(seen),
            "walks": len(walked),
            "visitors": len(people_of),
            "purity": 100 * right / len(walked),
            "per_person": float(np.mean(visitors)),
            **promotions(gallery, people_of, truth),
        }


def promotions(
    gallery: Gallery, people_of: dict[str, Counter[int]], truth: dict[str, int]
) -> dict[str, float]:
    """Promote the largest visitor of every person, and look whose tracks are told."""
    wrong, told, strange = 0, 0, 0
    taken: set[str] = set()
    for person in sorted({one for counts in people_of.values() for one in counts}):
        mine = {name: counts[person] for name, counts in people_of.items() if name not in taken}
        name = max(mine, key=mine.__getitem__)
        if not mine[name]:
            continue
        taken.add(name)
        done = promote(gallery, name, f"person {person}")
        whose = Counter(truth[str(track)] for track in done.tracks)
        wrong += whose.most_common(1)[0][0] != person
        told += len(done.tracks)
        strange += len(done.tracks) - whose[person]
    return {"promotions": len(taken), "wrong_promotions": wrong, "told_tracks": told, "wrong_tracks": strange}


def load(cache: Path | None, seed: int, people: int) -> Visits:
    """The crowd, from a file where there is one."""
    if cache is not None and cache.exists():
        with np.load(cache) as kept:
            return Visits(kept["embeddings"], kept["people"], kept["cameras"], kept["days"])
    visits = visit(DEMO, seed, people)
    if cache is not None:
        np.savez(
            cache,
            embeddings=visits.embeddings,
            people=visits.people,
            cameras=visits.cameras,
            days=visits.days,
        )
    return visits


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=60, help="strangers")
    parser.add_argument("--seed", type=int, default=SEED, help="of the crowd")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="embeddings, made when missing")
    parser.add_argument("--distance", type=float, metavar="D", help="of linking (default: the product's)")
    parser.add_argument("--record", action="store_true", help="keep the figures in metrics.json")
    args = parser.parse_args()
    advice = zoo.advice()
    config = Config.model_validate(
        {
            "cameras": [{"id": "cam0", "url": "synth://"}],
            "gallery": {
                "threshold": advice.threshold,
                "visitors": {"enabled": True, "distance": args.distance},
            },
        }
    )
    rule = site_rule(config, {MODEL: None})
    figures = measure(load(args.cache, args.seed, args.people), rule, advice.fingerprint)
    print(json.dumps(figures, indent=2))
    if args.record:
        path = DEMO / "metrics.json"
        kept = json.loads(path.read_text()) | {"visitors": figures}
        path.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    main()
