"""Measure the packaged demo weights on people they have never seen, and write their model cards.

    python scripts/evaluate_demo.py                  # everything, several minutes
    python scripts/evaluate_demo.py --tracking       # only the tracks of crowds, half a minute
    python scripts/evaluate_demo.py --gaitbase       # only the model on silhouettes, alone and fused
    python scripts/evaluate_demo.py --beside walkers # a model on joints, alone and fused with the demo's
    python scripts/evaluate_demo.py --cards          # only the cards, from metrics.json

Everything runs as in the pipeline: rendered pictures, the demo detector's boxes, the demo pose model's
heatmaps, the demo bundle. Everybody walks past every camera three times, in a random direction and in
clothes of their own for each camera; a gallery holds either one of these tracklets or all three of one
camera, the nearest counting, as in the product's gallery. Figures go to `gaitstream/zoo/demo/metrics.json`,
recommended thresholds, which come from a third crowd, to `advice.json`, and both into the cards.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from demo_cards import write_cards
from demo_crowds import CAMERAS, DEMO, TRACKLETS, Passes, walk
from demo_tracking import measure_tracking
from evaluate_visitors import linking, load, note_as_visitors

from gaitstream import zoo
from gaitstream.cli.script import run_script
from gaitstream.evaluate.distances import pairwise
from gaitstream.evaluate.openset import search
from gaitstream.evaluate.retrieval import retrieve
from gaitstream.evaluate.verification import pairs, verify
from gaitstream.models.recognizer import Recognizer
from gaitstream.models.resolve import find_bundle

CALIBRATION_SEED, UNSEEN_SEED = 31337, 90210
SHARES = (1.0, 0.5, 0.25, 0.1)
"""Shares of GaitBase's distance beside GaitHeat's that are tried; the one of the lowest EER is advised."""
ADVISED_FPIR = 0.005
"""A stranger is seen in dozens of windows, and one wrong name is one too many."""


def between(passes: Passes) -> dict[str, np.ndarray]:
    """Distances between all tracklets, `[n, n]`, by recognizer."""
    return {
        "gaitheat": pairwise(passes.embeddings, passes.embeddings),
        "gaitbase": pairwise(passes.outlines, passes.outlines),
    }


def fused(each: dict[str, np.ndarray], advice: dict[str, dict[str, Any]]) -> np.ndarray:
    """Distances as decisions fuse them, each recognizer's in units of its threshold, by its share."""
    parts = [distances / advice[name]["threshold"] for name, distances in each.items()]
    return np.average(parts, axis=0, weights=[advice[name]["weight"] for name in each])


def score(passes: Passes, distances: np.ndarray, *, visitors: bool = False) -> dict[str, float]:
    """Closed-set and open-set identification and verification across cameras, averaged over the galleries.

    Names that end in `_single` are those of galleries of one tracklet a person; in `_visitors`, of tracklets
    that are decided together with all that are linked to the same visitor, as after the fact in a run.
    """
    galleries = [passes.cameras == camera for camera in range(CAMERAS)]
    result = {
        "people": len(np.unique(passes.people)),
        "tracklets": len(passes.people),
        "templates": TRACKLETS,
        **identify(distances, passes, galleries),
    }
    if visitors:
        linked = identify(distances, passes, galleries, link_as_visitors)
        result["fnir_at_fpir_1_visitors"] = linked["fnir_at_fpir_1"]
    one = [g & (passes.turns == turn) for g in galleries for turn in range(TRACKLETS)]
    single = identify(distances, passes, one)
    result |= {f"{name}_single": single[name] for name in ("rank1", "eer", "fnir_at_fpir_1")}
    found = retrieve(distances, passes.people, passes.people, passes.cameras, passes.cameras)
    return {**result, "map": found.mean_ap}


def link_as_visitors(passes: Passes, rows: np.ndarray) -> np.ndarray:
    """Which visitor each of some tracklets is noted as when everybody comes in a random order, `[n]`."""
    return note_as_visitors(passes, rows, linking(), zoo.advice().fingerprint)


def identify(
    distances: np.ndarray,
    passes: Passes,
    galleries: list[np.ndarray],
    link: Callable[[Passes, np.ndarray], np.ndarray] | None = None,
) -> dict[str, float]:
    """Search every gallery with the tracklets of the other cameras; a person's nearest template counts.

    `link` says which tracklets are decided together, by the mean of their distances.
    """
    ranks, own, others, opened = [], [], [], []
    for gallery in galleries:
        camera = passes.cameras[gallery][0]
        rest = passes.cameras != camera
        nearest, enrolled = nearest_templates(distances[np.ix_(rest, gallery)], passes.people[gallery])
        probes = passes.people[rest]
        if link is not None:
            visitors = link(passes, np.flatnonzero(rest))
            nearest = np.stack([nearest[visitors == visitor].mean(0) for visitor in visitors])
        ranks.append(enrolled[nearest.argmin(1)] == probes)
        genuine, impostor = pairs(nearest, probes, enrolled)
        own.append(genuine)
        others.append(impostor)
        for half in (0, 1):
            chosen = enrolled % 2 == half
            opened.append(search(nearest[:, chosen], probes, enrolled[chosen]))
    curve = verify(np.concatenate(own), np.concatenate(others))
    return {
        "rank1": 100 * float(np.mean(np.concatenate(ranks))),
        "eer": 100 * curve.eer,
        "eer_threshold": curve.eer_threshold,
        "fnir_at_fpir_1": 100 * float(np.mean([o.fnir_at_fpir(0.01) for o in opened])),
        "fnir_at_fpir_5": 100 * float(np.mean([o.fnir_at_fpir(0.05) for o in opened])),
        "searches": int(sum(len(o.mated_distance) + len(o.nonmated_distance) for o in opened)),
    }


def nearest_templates(distances: np.ndarray, people: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances `[n, templates]` to the nearest template of each person `[n, m]`, and these people `[m]`."""
    enrolled = np.unique(people)
    return np.stack([distances[:, people == person].min(1) for person in enrolled], 1), enrolled


def compare_models(
    passes: Passes, each: dict[str, np.ndarray], advice: dict[str, dict[str, Any]]
) -> dict[str, dict[str, float]]:
    """Each recognizer, and their fusion, on the same tracklets."""
    both = {**each, "fused": fused(each, advice)}
    return {name: score(passes, distances) for name, distances in both.items()}


def drawn_galleries(passes: Passes, distances: np.ndarray, seed: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Eight of the crowd enrolled from one camera, 200 times, and everybody's tracklets of the others.

    Yields distances to the enrolled `[n, 8]`, who these are, and of each tracklet the person and the walk.
    """
    rng = np.random.default_rng(seed)
    everybody = np.unique(passes.people)
    for _ in range(200):
        group = rng.choice(everybody, 8, replace=False)
        camera = rng.integers(CAMERAS)
        gallery = (passes.cameras == camera) & np.isin(passes.people, group)
        rest = passes.cameras != camera
        nearest, enrolled = nearest_templates(distances[np.ix_(rest, gallery)], passes.people[gallery])
        yield nearest, enrolled, passes.people[rest], (passes.people * CAMERAS + passes.cameras)[rest]


def decided(passes: Passes, distances: np.ndarray, advice: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What becomes of one, two and three tracklets of a person before a camera, decided together.

    Eight of the crowd are enrolled from another camera, 200 times. In percent by the number of tracklets:
    strangers who are given a name (`fpir`), and enrolled people who are not given theirs (`missed`), with the
    advised gain; in `missed_without` at the advised threshold alone.
    """
    found: dict[int, dict[str, list[np.ndarray]]] = {
        count: {"fpir": [], "missed": [], "missed_without": []} for count in range(1, TRACKLETS + 1)
    }
    for nearest, enrolled, people, walks in drawn_galleries(passes, distances, seed=7):
        for count, rates in found.items():
            means, who = together(nearest, walks, count), together(people[:, None], walks, count)[:, 0]
            reach = advice["threshold"] * (1 + advice["gain"] * (1 - 1 / count))
            known = np.isin(who, enrolled)
            lead = np.diff(np.sort(means, 1)[:, :2], axis=1)[:, 0] >= advice["margin"]
            right = (enrolled[means.argmin(1)] == who) & lead
            rates["fpir"].append((means.min(1) <= reach)[~known] & lead[~known])
            rates["missed"].append(~(right & (means.min(1) <= reach))[known])
            rates["missed_without"].append(~(right & (means.min(1) <= advice["threshold"]))[known])
    return {
        str(count): {name: 100 * float(np.concatenate(rows).mean()) for name, rows in rates.items()}
        for count, rates in found.items()
    }


def recommend(passes: Passes, distances: np.ndarray, fingerprint: str) -> dict[str, float | str]:
    """The threshold at 0.5% FPIR for eight enrolled people, and a quarter of right answers' median lead.

    The gain: how much larger it is for a stranger's two and three tracklets before a camera together.
    """
    leads = []
    strangers: dict[int, list[np.ndarray]] = {count: [] for count in range(1, TRACKLETS + 1)}
    for nearest, enrolled, people, walks in drawn_galleries(passes, distances, seed=5):
        known = np.isin(people, enrolled)
        for count, found in strangers.items():
            found.append(together(nearest[~known], walks[~known], count).min(1))
        rows = np.sort(nearest[known], axis=1)
        leads.append(rows[:, 1] - rows[:, 0])
    at = {count: float(np.quantile(np.concatenate(one), ADVISED_FPIR)) for count, one in strangers.items()}
    gains = [(at[count] / at[1] - 1) / (1 - 1 / count) for count in at if count > 1]
    return {
        "threshold": round(at[1], 4), "margin": round(float(np.median(np.concatenate(leads)) / 4), 4),
        "gain": round(max(0.0, min(gains)), 3), "fpir": ADVISED_FPIR, "fingerprint": fingerprint,
    }  # fmt: skip


def together(distances: np.ndarray, walks: np.ndarray, count: int) -> np.ndarray:
    """Means over so many rows of each walk that has as many, `[walks, m]`, as decisions fuse windows."""
    rows = (np.flatnonzero(walks == walk) for walk in np.unique(walks))
    return np.stack([distances[mine[:count]].mean(0) for mine in rows if len(mine) >= count])


def advise(
    passes: Passes, fingerprints: dict[str, str], known: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What is recommended for each recognizer, and for both fused; see `SHARES`. What is `known` stays."""
    each = between(passes)
    advice = {
        name: known.get(name) or {**recommend(passes, each[name], fingerprints[name]), "weight": 1.0}
        for name in each
    }
    both = "+".join(sorted(each))
    prints = "+".join(fingerprints[name] for name in sorted(each))

    def eer(share: float) -> float:
        advice["gaitbase"]["weight"] = share
        return score(passes, fused(each, advice))["eer"]

    advice["gaitbase"]["weight"] = min(SHARES, key=eer)
    return {**advice, both: recommend(passes, fused(each, advice), prints)}


def on_joints(model: Recognizer, passes: Passes) -> np.ndarray:
    """Distances between all tracklets by a model on joints, `[n, n]`."""
    whole = np.isfinite(passes.joints[:, :, 0, 0])
    rows = [model.embed_inputs({"joints": one[some]}) for one, some in zip(passes.joints, whole, strict=True)]
    return pairwise(np.stack(rows), np.stack(rows))


def measure_beside(name: str, cache: Path | None, people: int) -> dict[str, Any]:
    """A model on joints by its zoo name or bundle: alone, and fused with the demo's on heatmaps.

    Its share is the one of the lowest EER in the crowd that thresholds come from.
    """
    model = Recognizer.load(find_bundle(name), threads=1)
    files = {seed: cache and cache / f"crowd-{seed}.npz" for seed in (UNSEEN_SEED, CALIBRATION_SEED)}
    passes = load(files[UNSEEN_SEED], UNSEEN_SEED, people)
    crowd = load(files[CALIBRATION_SEED], CALIBRATION_SEED, min(people, 40))
    advice: dict[str, dict[str, Any]] = {"gaitheat": {"threshold": zoo.advice().threshold, "weight": 1.0}}
    both, known = (
        {"gaitheat": between(one)["gaitheat"], name: on_joints(model, one)} for one in (passes, crowd)
    )
    advice[name] = recommend(crowd, known[name], model.fingerprint)
    shares = (*SHARES, *(1 / share for share in SHARES[1:]))
    eers = {
        w: score(crowd, fused(known, {**advice, name: {**advice[name], "weight": w}}))["eer"] for w in shares
    }
    advice[name]["weight"] = min(shares, key=eers.__getitem__)
    together = recommend(crowd, fused(known, advice), f"{zoo.advice().fingerprint}+{model.fingerprint}")
    scores = {**{one: score(passes, both[one]) for one in both}, "fused": score(passes, fused(both, advice))}
    return {**scores, "advice": packaged_advice({model.manifest.model: advice[name]}, together)}


def packaged_advice(own: dict[str, dict[str, Any]], fused_with_demo: dict[str, Any]) -> dict[str, Any]:
    """Advice for one model, and for it fused with the demo's, in the form that `zoo.advice` reads."""
    return {**own, "+".join(sorted([zoo.demo_family(), *own])): fused_with_demo}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=60, help="unseen identities")
    parser.add_argument("--demo", type=Path, default=DEMO, help="folder of the weights")
    parser.add_argument("--cards", action="store_true", help="write the cards only")
    parser.add_argument("--no-tracking", action="store_true")
    parser.add_argument("--tracking", action="store_true", help="measure the tracks of crowds only")
    parser.add_argument("--gaitbase", action="store_true", help="measure the model on silhouettes only")
    parser.add_argument("--beside", help="a model on joints, by zoo name or bundle; nothing is written")
    parser.add_argument("--advice", type=Path, help="file that the advice of --beside is written to")
    parser.add_argument("--cache", type=Path, help="folder in which the crowds of --beside are kept")
    args = parser.parse_args()
    if args.beside:
        found = measure_beside(args.beside, args.cache, args.people)
        print(json.dumps(found, indent=2))
        if args.advice:
            args.advice.write_text(json.dumps(found["advice"], indent=2) + "\n")
        return
    if args.tracking:
        note(args.demo, {"tracking": measure_tracking(args.demo)})
    elif not args.cards:
        measure(args)
    write_cards(args.demo)


def measure(args: argparse.Namespace) -> None:
    """Run everything, on two cores, and write the two files of figures."""
    with ProcessPoolExecutor(2) as pool:
        unseen = pool.submit(walk, args.demo, UNSEEN_SEED, args.people)
        known = pool.submit(walk, args.demo, CALIBRATION_SEED, min(args.people, 40))
        tracking = None if args.no_tracking or args.gaitbase else pool.submit(measure_tracking, args.demo)
        passes, crowd = unseen.result(), known.result()
        models = {name: Recognizer.load(args.demo / name, threads=1) for name in between(passes)}
        before = json.loads((args.demo / "advice.json").read_text()) if args.gaitbase else {}
        before.pop("gaitbase", None)
        advice = advise(crowd, {name: model.fingerprint for name, model in models.items()}, before)
        each = between(passes)
        result: dict[str, object] = {
            name: {
                **score(passes, each[name], visitors=name == "gaitheat"),
                "runtime": model.runtime,
                "precision": model.precision,
            }
            for name, model in models.items()
        }
        result |= {
            "beside": compare_models(passes, each, advice),
            "decided": decided(passes, each["gaitheat"], advice["gaitheat"]),
            "pose": {
                "pck_2px": 100 * float(np.mean(passes.joint_errors < 2)),
                "pck_1px": 100 * float(np.mean(passes.joint_errors < 1)),
                "median_px": float(np.median(passes.joint_errors)),
                "joints": len(passes.joint_errors),
            },
            "segmenter": {
                "iou": 100 * float(np.nanmean(passes.mask_overlaps)),
                "masks": int(np.isfinite(passes.mask_overlaps).sum()),
            },
            "detector": {"missed_alone": 100 * passes.missed},
        }
        if args.gaitbase:
            result = {name: result[name] for name in ("gaitbase", "beside")}
        print(json.dumps(result, indent=2), flush=True)
        if tracking is not None:
            result["tracking"] = tracking.result()
    result = note(args.demo, result)
    (args.demo / "advice.json").write_text(json.dumps(advice, indent=2) + "\n")
    print(json.dumps({**result, "advice": advice}, indent=2))


def note(demo: Path, result: dict[str, object]) -> dict[str, object]:
    """Write figures; what other scripts measured, or nothing measured this time, stays. All of them."""
    path = demo / "metrics.json"
    result = {**json.loads(path.read_text()), **result}
    path.write_text(json.dumps(result, indent=2) + "\n")
    return result


if __name__ == "__main__":
    run_script(main)
