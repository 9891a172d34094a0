"""The model cards of the demo weights, written from the figures that were measured."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

LIMITS = """## Limits

Made for gaitstream's synthetic world and for nothing else: its people are drawn capsules. It has seen no
photograph of a person, and its figures say nothing about real people. For a real site bring models trained on
real pictures (see `docs/evaluation.md`).

## Licence

Apache-2.0, as the code. All training data is synthetic and made by the code in this repository.
"""


def write_cards(demo: Path) -> None:
    """One markdown file per model beside the weights."""
    figures: dict[str, Any] = json.loads((demo / "metrics.json").read_text())
    advice: dict[str, Any] = json.loads((demo / "advice.json").read_text())
    training: dict[str, Any] = json.loads((demo / "training.json").read_text())
    (demo / "detector.md").write_text(_detector(figures, training["detector"]))
    (demo / "pose.md").write_text(_pose(figures, training["pose"]))
    (demo / "segmenter.md").write_text(_segmenter(figures["segmenter"], training["segmenter"]))
    (demo / "gaitheat.md").write_text(_gait(figures, training["gaitheat"], advice["gaitheat"]))
    (demo / "gaitbase.md").write_text(_gaitbase(figures, training["gaitbase"], advice))


def _table(rows: list[tuple[str, str]]) -> str:
    return "\n".join(["| figure | value |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _commands(training: dict[str, Any]) -> str:
    return "\n".join(["```sh", *training["commands"], "```", "", textwrap.fill(training["note"], 110)])


def _detector(figures: dict[str, Any], training: dict[str, Any]) -> str:
    tracking, found = figures["tracking"], figures["precisions"]
    rows = [
        ("recall, IoU 0.5", f"{tracking['recall']:.1f} %"),
        ("precision, IoU 0.5", f"{tracking['precision']:.1f} %"),
        ("HOTA of the tracks", f"{tracking['hota']:.1f} %"),
        ("IDF1 of the tracks", f"{tracking['idf1']:.1f} %"),
        ("MOTA of the tracks", f"{tracking['mota']:.1f} %"),
        ("identity switches", f"{tracking['id_switches']}"),
        ("frames", f"{tracking['frames']}"),
        *(
            (f"recall and precision in {p}", f"{found[f'recall_{p}']:.1f} %, {found[f'precision_{p}']:.1f} %")
            for p in ("fp32", "bf16", "int8")
        ),
    ]
    return f"""# Demo person detector

A small anchor-free convolutional network: RGB 320 x 192 (letterboxed, 0..255) to one candidate per cell of
8 x 8 pixels, in the layout of YOLOv8's raw output `[n, 5, 960]`.

## Training

{_commands(training)}

## On unseen people

Four cameras of crowds of eight that were not trained on, in other clothes; people count who are 40 pixels
tall and of whom a quarter can be seen.

{_table(rows)}

{LIMITS}"""


def _pose(figures: dict[str, Any], training: dict[str, Any]) -> str:
    pose = figures["pose"]
    rows = [
        ("visible joints within 2 heatmap pixels", f"{pose['pck_2px']:.1f} %"),
        ("visible joints within 1 heatmap pixel", f"{pose['pck_1px']:.1f} %"),
        ("median error, heatmap pixels", f"{pose['median_px']:.2f}"),
        ("joints", f"{pose['joints']}"),
        *(
            (f"median error in {p}, other walks", f"{figures['precisions'][f'median_px_{p}']:.3f}")
            for p in ("fp32", "bf16", "int8")
        ),
    ]
    return f"""# Demo pose model

A small encoder with skip connections: RGB uint8 crops 256 x 192 to heatmaps of the 17 COCO joints, 64 x 48.

## Training

{_commands(training)}

## On unseen people

In the demo detector's boxes. A person is about 51 heatmap pixels tall.

{_table(rows)}

{LIMITS}"""


TARGET_RANK1, TARGET_EER = 95.0, 3.0


def _verdict(gait: dict[str, Any]) -> str:
    """Whether the model is good enough to be relied on in the demo."""
    met = gait["rank1"] >= TARGET_RANK1 and gait["eer"] <= TARGET_EER
    target = f"rank-1 of {TARGET_RANK1:.0f} % and EER of {TARGET_EER:.0f} %"
    if met:
        return f"The target, {target}, is met."
    return f"**The target, {target}, is not met yet**: {gait['rank1']:.1f} % and {gait['eer']:.1f} %."


def _gait(figures: dict[str, Any], training: dict[str, Any], advice: dict[str, Any]) -> str:
    gait = figures["gaitheat"]
    what = (
        f"GaitHeat at reduced width ({training['channels']}, {training['dim']} dimensions per part), "
        "exported by `gaitstream export gaitheat` like any checkpoint; "
        "`gaitheat/parity.json` compares the precisions."
    )
    return f"""# Demo gait model

{_verdict(gait)}

{textwrap.fill(what, 110)}

{_on_unseen_people(gait, "heatmaps")}

{_table(_identification(gait))}

{_advice(gait, advice)}

{_decided(figures["decided"])}

{_video(figures["video"])}

## Training

{_commands(training)}

{LIMITS}"""


def _on_unseen_people(gait: dict[str, Any], inputs: str) -> str:
    text = (
        "Every person in other clothes on each of four cameras that were not trained on, "
        f"{gait['templates']} passes in random directions each; boxes and {inputs} by the demo models, on "
        "rendered pictures. Everybody is enrolled in one camera, with all passes there as templates where "
        "not said otherwise, and searched from the others; every camera is the enrolling one in turn. FNIR "
        "at 1 % FPIR: the share of searches for enrolled people that give no name or a wrong one, at a "
        "threshold that gives one in a hundred strangers a name. Lower is better for EER and FNIR. Measured "
        f"with {RUNTIMES[gait['runtime']]}, {gait['precision']}."
    )
    return "## On unseen people\n\n" + textwrap.fill(text, 110)


def _identification(gait: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        ("identities, none of them trained on", f"{gait['people']}"),
        ("tracklets of 30 frames", f"{gait['tracklets']}"),
        ("rank-1 across cameras", f"{gait['rank1']:.1f} %"),
        ("verification EER", f"{gait['eer']:.1f} %"),
        (f"FNIR at 1 % FPIR, {gait['people'] // 2} enrolled", f"{gait['fnir_at_fpir_1']:.1f} %"),
        (f"FNIR at 5 % FPIR, {gait['people'] // 2} enrolled", f"{gait['fnir_at_fpir_5']:.1f} %"),
        ("rank-1, one template a person", f"{gait['rank1_single']:.1f} %"),
        ("EER, one template a person", f"{gait['eer_single']:.1f} %"),
        ("FNIR at 1 % FPIR, one template a person", f"{gait['fnir_at_fpir_1_single']:.1f} %"),
        ("mean average precision over all other cameras", f"{gait['map']:.1f} %"),
    ]


WEAK_EER = 15.0


def _strength(gait: dict[str, Any], share: float) -> str:
    """Whether the model is worth running alone."""
    if gait["eer"] <= WEAK_EER:
        return f"It has a share of {share:g} beside the demo's other gait model."
    text = (
        f"**It recognises few people by itself**: its EER is {gait['eer']:.0f} %. It shows how two "
        f"models run side by side, and has a share of {share:g} beside the demo's other gait model. "
        "Silhouettes change with clothes and view, and the network is small."
    )
    return textwrap.fill(text, 110)


def _segmenter(segmenter: dict[str, Any], training: dict[str, Any]) -> str:
    rows = [
        ("intersection over union with the true mask", f"{segmenter['iou']:.1f} %"),
        ("masks", f"{segmenter['masks']}"),
    ]
    return f"""# Demo segmentation model

A small encoder with skip connections: RGB uint8 crops 128 x 96 to the share of the person in each pixel.

## Training

{_commands(training)}

## On unseen people

Alone, in the demo detector's boxes.

{_table(rows)}

{LIMITS}"""


def _gaitbase(figures: dict[str, Any], training: dict[str, Any], advice: dict[str, Any]) -> str:
    gait, same = figures["gaitbase"], figures["beside"]
    what = (
        f"GaitBase at reduced width ({training['channels']}, {training['dim']} dimensions per part), "
        "exported by `gaitstream export gaitbase` like any checkpoint; `gaitbase/parity.json` compares the "
        "precisions. `gaitstream demo --gait` runs it beside the demo's GaitHeat."
    )
    beside = [
        (name, f"{one['rank1']:.1f} %", f"{one['eer']:.1f} %", f"{one['fnir_at_fpir_1']:.1f} %")
        for name, one in (
            ("GaitHeat", same["gaitheat"]), ("GaitBase", same["gaitbase"]), ("fused", same["fused"]),
        )
    ]  # fmt: skip
    table = "\n".join(
        ["| model | rank-1 | EER | FNIR at 1 % FPIR |", "|---|---|---|---|"]
        + ["| " + " | ".join(row) + " |" for row in beside]
    )
    tracklets = (
        f"On the same {same['fused']['tracklets']} tracklets of {same['fused']['people']} people; `fused` is "
        "the mean of both distances, each in units of its model's threshold."
    )
    both = advice["gaitbase+gaitheat"]
    together = f"Recommended for both, fused: threshold {both['threshold']:.4f}, margin {both['margin']:.4f}."
    return f"""# Demo gait model on silhouettes

{_strength(gait, advice["gaitbase"]["weight"])}

{textwrap.fill(what, 110)}

{_on_unseen_people(gait, "masks")}

{_table(_identification(gait))}

{_advice(gait, advice["gaitbase"])}

## Beside the other gait model

{textwrap.fill(tracklets, 110)}

{table}

{together}

## Training

{_commands(training)}

{LIMITS}"""


def _video(video: dict[str, Any]) -> str:
    """What real footage through another pose model gave."""
    text = (
        f"Maps of a pose model it was not trained with: on a real video of {video['people']} people who walk "
        f"side by side ({video['pose_model']}, {video['tracklets']} tracklets of 30 frames; "
        f"`scripts/evaluate_video.py`), {video['nearer_than_mean_of_every_other_person']:.0f} % of the "
        "tracklets are nearer to their person's next one than to each of the others' on average, and "
        f"{video['nearer_than_every_tracklet_of_others']:.0f} % nearer than to any single tracklet of the "
        f"others; mean distances are {video['successive']:.2f} and {video['others']:.2f}. That is about "
        "heatmaps, not about recognising real people on another day."
    )
    return textwrap.fill(text, 110)


def _advice(gait: dict[str, Any], advice: dict[str, Any]) -> str:
    text = (
        f"Recommended for the demo (`advice.json`): threshold {advice['threshold']:.4f}, at which "
        f"{100 * advice['fpir']:g} % of strangers' windows get one of eight names with {gait['templates']} "
        f"templates each, chosen on a third crowd, not trained on either; margin {advice['margin']:.4f}; for "
        f"several windows of a track the threshold may be up to {100 * advice['gain']:.1f} % larger at the "
        "same rate (`gallery.threshold_gain`)."
    )
    return textwrap.fill(text, 110)


def _decided(by_count: dict[str, dict[str, float]]) -> str:
    text = (
        "With the advised limits, eight of the 60 unseen people enrolled from another camera: "
        + "; ".join(_rates(count, rates) for count, rates in by_count.items())
        + "."
    )
    return textwrap.fill(text, 110)


def _rates(count: str, rates: dict[str, float]) -> str:
    without = "" if count == "1" else f" ({rates['missed_without']:.1f} % without the gain)"
    return (
        f"of {count} tracklet{'s' if count != '1' else ''} together {rates['missed']:.1f} % of the enrolled "
        f"are not named{without}, {rates['fpir']:.1f} % of strangers are"
    )


RUNTIMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime", "tensorrt": "TensorRT"}
