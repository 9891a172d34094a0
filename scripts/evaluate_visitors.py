"""Measure what becomes of strangers: people the demo weights never saw, before four cameras.

    python scripts/evaluate_visitors.py                      # renders, then measures; several minutes
    python scripts/evaluate_visitors.py --cache FILE.npz     # keeps embeddings there and in FILE-frequent.npz

The crowd is that of `evaluate_demo.py`: 60 people pass every camera three times, in other clothes before
each, twice on the first day and once on the second, one window a pass. The first 12 of them come back as a
crowd of its own and pass every camera eight times, on four days. People come in a random order, and are noted
in a gallery as a run notes them, with the linking distance that the demo's recommended threshold gives. Then
each person's largest visitor is promoted by name. What is printed, and with --record kept in the demo's
`metrics.json`, of the 60 people, of their first walks alone (`once`), of the 12 who come often (`frequent`),
and as means over four sites that three of these visit each (`few`):

    purity           share of walks that are the majority's of their visitor
    per_person       visitors per person, of people with three windows or more; of all where nobody has
    wrong_promotions promotions of a visitor most of whose walks are somebody else's
    wrong_tracks     earlier tracks told with a promotion that are somebody else's, of all told
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from demo_crowds import DEMO, TRACKLETS, Passes, walk

from gaitstream import zoo
from gaitstream.cli.script import run_script
from gaitstream.config.schema import Config
from gaitstream.gallery import Gallery
from gaitstream.gallery.keys import NONE
from gaitstream.gallery.linking import LinkRule
from gaitstream.gallery.sightings import KeptWindows, Sighting, TrackRef
from gaitstream.gallery.visiting import VisitorBook
from gaitstream.gallery.visitors import promote, show_visitor, visitors
from gaitstream.pipeline.visits import settle_after, site_rule

SEED = 90210
MODEL = "gaitheat"
SECOND = 10**9
DAY_S = 86_400
FEW = 3
"""Windows from which on somebody counts in `per_person`."""
FREQUENT, TURNS, OF_A_SITE = 12, 8, 3
"""People who come often, how often before each camera, and how many of them a site has that few come to."""


def sightings(passes: Passes, rows: np.ndarray, fingerprint: str, seed: int) -> list[tuple[int, Sighting]]:
    """Row and sighting of some walks, in the order of time: everybody comes at random within each turn."""
    order = rows[np.lexsort((np.random.default_rng(seed).random(len(rows)), passes.turns[rows]))]
    found = []
    for number, row in enumerate(order.tolist()):
        at = ((passes.turns[row] // 2) * DAY_S + number * 20) * SECOND
        track = TrackRef("run", f"cam{passes.cameras[row]}", number, int(at) + 4 * SECOND)
        kept = {MODEL: KeptWindows.of([passes.embeddings[row]], fingerprint)}
        found.append((row, Sighting(track=track, first_ns=int(at), windows=kept)))
    return found


def note_as_visitors(passes: Passes, rows: np.ndarray, rule: LinkRule, fingerprint: str) -> np.ndarray:
    """Which visitor each of some walks is in the end, `[n]`."""
    walked = sightings(passes, rows, fingerprint, seed=1)
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery(Path(folder) / "gallery", create=True, key=NONE) as gallery,
    ):
        note_all(gallery, [sighting for _, sighting in walked], rule, fingerprint)
        whose = {
            one.track.key: number
            for number, entry in enumerate(visitors(gallery))
            for one in show_visitor(gallery, entry.name)[1]
        }
    found = np.zeros(passes.people.shape, int)
    found[[row for row, _ in walked]] = [whose[sighting.track.key] for _, sighting in walked]
    return found[rows]


def note_all(gallery: Gallery, walked: Sequence[Sighting], rule: LinkRule, fingerprint: str) -> None:
    """Note walks in a gallery as a run does."""
    book = VisitorBook(gallery, {MODEL: fingerprint}, rule)
    unsettled = 0
    for sighting in walked:
        book.note([sighting])
        unsettled += 1
        if unsettled >= settle_after(book.walks):
            book.settle()
            unsettled = 0
    book.settle()


def measure(passes: Passes, rule: LinkRule, fingerprint: str, order: int) -> dict[str, float]:
    """Note all walks in a new gallery, promote, and count."""
    walked = sightings(passes, np.arange(len(passes.people)), fingerprint, order)
    with (
        tempfile.TemporaryDirectory() as folder,
        Gallery(Path(folder) / "gallery", create=True, key=NONE) as gallery,
    ):
        note_all(gallery, [sighting for _, sighting in walked], rule, fingerprint)
        truth = {str(sighting.track): int(passes.people[row]) for row, sighting in walked}
        people_of = {
            entry.name: Counter(truth[str(one.track)] for one in show_visitor(gallery, entry.name)[1])
            for entry in visitors(gallery)
        }
        right = sum(max(counts.values()) for counts in people_of.values())
        windows = Counter(passes.people.tolist())
        seen = [person for person in windows if windows[person] >= min(FEW, max(windows.values()))]
        each = [sum(person in counts for counts in people_of.values()) for person in seen]
        return {
            "strangers": len(seen),
            "walks": len(walked),
            "visitors": len(people_of),
            "purity": 100 * right / len(walked),
            "per_person": float(np.mean(each)),
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


def measure_all(
    crowd: Passes, frequent: Passes, rule: LinkRule, fingerprint: str, order: int
) -> dict[str, object]:
    """The figures of all crowds; see above."""
    firsts = np.unique(crowd.people, return_index=True)[1]
    came = np.unique(frequent.people)
    sites = [
        measure(some_of(frequent, np.isin(frequent.people, people)), rule, fingerprint, order)
        for people in np.split(came, range(OF_A_SITE, len(came), OF_A_SITE))
    ]
    return {
        **measure(crowd, rule, fingerprint, order),
        "once": measure(some_of(crowd, firsts), rule, fingerprint, order),
        "frequent": measure(frequent, rule, fingerprint, order),
        "few": {name: float(np.mean([site[name] for site in sites])) for name in sites[0]},
    }


def some_of(passes: Passes, rows: np.ndarray) -> Passes:
    """Some of all walks, by their rows."""
    kept = {name: getattr(passes, name)[rows] for name in ("embeddings", "people", "cameras", "turns")}
    return replace(passes, **kept)


def load(cache: Path | None, seed: int, people: int, turns: int = TRACKLETS) -> Passes:
    """A crowd, from a file where there is one."""
    if cache is not None and cache.exists():
        with np.load(cache) as kept:
            return Passes(**{name: kept[name] for name in kept.files})
    passes = walk(DEMO, seed, people, turns)
    if cache is not None:
        np.savez(cache, **vars(passes))
    return passes


def linking(distance: float | None = None) -> LinkRule:
    """When a walk is a visitor's, as in a run with the demo's recommended threshold."""
    people = {"threshold": zoo.advice().threshold, "visitors": {"enabled": True, "distance": distance}}
    cameras = [{"id": "cam0", "url": "synth://"}]
    return site_rule(Config.model_validate({"cameras": cameras, "gallery": people}), {MODEL: None})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=60, help="strangers")
    parser.add_argument("--seed", type=int, default=SEED, help="of the crowd")
    parser.add_argument("--cache", type=Path, metavar="FILE", help="embeddings, made when missing")
    parser.add_argument("--distance", type=float, metavar="D", help="of linking (default: the product's)")
    parser.add_argument("--order", type=int, default=1, help="seed of the order in which people come")
    parser.add_argument("--record", action="store_true", help="keep the figures in metrics.json")
    args = parser.parse_args()
    advice = zoo.advice()
    rule = linking(args.distance)
    again = args.cache and args.cache.with_stem(f"{args.cache.stem}-frequent")
    crowd, frequent = load(args.cache, args.seed, args.people), load(again, args.seed, FREQUENT, TURNS)
    figures = measure_all(crowd, frequent, rule, advice.fingerprint, args.order)
    print(json.dumps(figures, indent=2))
    if args.record:
        path = DEMO / "metrics.json"
        kept = json.loads(path.read_text()) | {"visitors": figures}
        path.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    run_script(main)
