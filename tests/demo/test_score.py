"""DemoScore and report are pure functions of a record."""

import html.parser
import re
from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from gaitstream.demo.record import CameraRun, DemoRecord, Statement, TrackRecord, WalkerRecord, WindowRecord
from gaitstream.demo.report import render
from gaitstream.demo.score import FUSED, TrackOutcome, curves, fuse, roc, score, verdict
from gaitstream.demo.summary import summary


def track(
    camera: str = "cam1",
    number: int = 1,
    truth: str | None = "Ada",
    person: str | None = None,
    **changes: object,
) -> TrackRecord:
    known = person is not None
    one = TrackRecord(
        camera=camera, track=number, truth=truth, purity=1.0, first_s=1.0, last_s=6.0,
        seen=75, accepted=60, status="known" if known else "unknown", person=person,
        distance=0.3 if known else 0.9, margin=0.2, reason=None if known else "below_threshold",
        statements=[Statement(time_s=3.0, status="known" if known else "unknown", person=person, distance=0.3,
                    reason=None, provisional=False)],
    )  # fmt: skip
    return msgspec.structs.replace(one, **changes)


def record(tracks: Sequence[TrackRecord], windows: Sequence[WindowRecord] = ()) -> DemoRecord:
    people = [
        WalkerRecord(name="Ada", enrolled=True, templates=4, pictures=[b"\xff\xd8"]),
        WalkerRecord(name="Bela", enrolled=True, templates=5),
        WalkerRecord(name="<Gus>", enrolled=False),
    ]
    camera = CameraRun(
        name="cam1",
        still=b"\xff\xd8",
        decoded=90,
        analysed=88,
        dropped=2,
        fps=14.5,
        p50_ms=31.0,
        p95_ms=55.0,
    )
    return DemoRecord(
        version="1", machine="a machine", started="2026-01-01 00:00 UTC", command="gaitstream demo", seed=7,
        site="plaza", seconds=10.0, enrolment_s=5.0, total_s=20.0, threshold=0.6, margin=0.05,
        models={"gaitheat": "ab"},
        people=people, tracks=list(tracks), windows=list(windows), cameras=[camera], stages={"detect": 4.2},
        events_sent=9, events_received=9, event_p50_ms=40.0, event_p95_ms=70.0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (track(person="Ada"), TrackOutcome.IDENTIFIED),
        (track(person="Bela"), TrackOutcome.WRONG),
        (track(), TrackOutcome.MISSED),
        (track(status="ambiguous", reason="ambiguous"), TrackOutcome.MISSED),
        (track(status="insufficient_evidence", reason="too_short"), TrackOutcome.NO_EVIDENCE),
        (track(truth="<Gus>"), TrackOutcome.REJECTED),
        (track(truth="<Gus>", person="Ada"), TrackOutcome.WRONG),
        (
            track(truth="<Gus>", status="insufficient_evidence", reason="standing"),
            TrackOutcome.NO_EVIDENCE,
        ),
        (track(truth=None), TrackOutcome.UNCLEAR),
        (track(truth=None, person="Ada"), TrackOutcome.UNCLEAR),
        (track(purity=0.6), TrackOutcome.UNCLEAR),
        (track(purity=0.6, person="Bela"), TrackOutcome.WRONG),
    ],
)
def test_a_verdict_for_every_case(one: TrackRecord, expected: TrackOutcome) -> None:
    assert verdict(record([one]), one) is expected


def test_the_score_counts_cameras_and_strangers() -> None:
    tracks = [
        track("cam1", 1, "Ada", "Ada"),
        track("cam2", 1, "Ada", "Ada"),
        track("cam2", 2, "Bela"),
        track("cam3", 1, "<Gus>"),
        track("cam3", 2, "<Gus>", "Ada"),
    ]
    windows = [WindowRecord(camera="cam2", track=2, truth="Bela", distances={"Ada": 0.9, "Bela": 0.8})]
    result = score(record(tracks, windows))
    assert result.identified_on == {"Ada": ("cam1", "cam2"), "Bela": ()}
    assert result.completed_on["Bela"] == ("cam2",)
    assert result.strangers_named == {"<Gus>": ("Ada (cam3 #2)",)}
    assert (result.right, result.decided) == (3, 5)


def test_the_summary_fits_a_terminal_and_says_who_was_recognised_where() -> None:
    tracks = [track("cam1", n, "Ada", "Ada") for n in range(3)] + [
        track("cam2", 2, "Bela"),
        *(track("cam3", n, "<Gus>", "Ada") for n in range(9)),
    ]
    windows = [WindowRecord(camera="cam2", track=2, truth="Bela", distances={"Ada": 0.9, "Bela": 0.8})]
    one = record(tracks, windows)
    said = summary(one, score(one))
    assert max(map(len, said)) < 80
    text = "\n".join(said)
    assert re.search(r"Ada +cam1 +-$", text, re.MULTILINE)
    assert re.search(r"Bela +nowhere +cam2$", text, re.MULTILINE)
    assert re.search(r"<Gus> +given a name: Ada \(cam3 #0\), Ada", text)
    assert "below_threshold 1" in text
    assert "received 9 of 9" in text
    assert "Stopped" not in text
    stopped = msgspec.structs.replace(one, stopped=True, seconds=4.0)
    assert summary(stopped, score(stopped))[0].startswith("Stopped after 4 s")


def test_a_run_that_left_out_many_frames_says_so() -> None:
    slow = msgspec.structs.replace(record([]).cameras[0], decoded=90, dropped=40, analysed=50)
    one = msgspec.structs.replace(record([]), cameras=[slow])
    assert "--wait" in "\n".join(summary(one, score(one)))


def test_the_roc_of_separated_and_of_equal_distances() -> None:
    def windows(near: float, far: float, count: int = 20) -> list[WindowRecord]:
        return [
            WindowRecord(camera="cam1", track=n, truth="Ada",
                   distances={"Ada": near + n * 1e-3, "Bela": far + n * 1e-3})
            for n in range(count)
        ]  # fmt: skip

    perfect, equal = roc(windows(0.3, 0.9)), roc(windows(0.5, 0.5))
    assert perfect is not None
    assert equal is not None
    assert perfect.eer == 0
    assert perfect.true_accept[np.searchsorted(perfect.false_accept, 0.0, side="right") - 1] == 1.0
    assert equal.eer == pytest.approx(0.5, abs=0.05)
    assert roc([]) is None


def test_several_recognizers_have_a_curve_each_and_one_of_their_fusion() -> None:
    """Each is wrong about another person: in units of their thresholds the sum is right about both."""
    near = {"gaitheat": {"Ada": 0.2, "Bela": 0.3}, "gaitbase": {"Ada": 4.0, "Bela": 9.0}}
    far = {"gaitheat": {"Ada": 0.9, "Bela": 0.4}, "gaitbase": {"Ada": 3.0, "Bela": 2.0}}
    windows = [
        WindowRecord(camera="cam1", track=n, truth=truth, model=model, last_s=1.0, distances=distances)
        for n, (truth, each) in enumerate((("Ada", near), ("Bela", far)))
        for model, distances in each.items()
    ]
    windows.append(
        WindowRecord(camera="cam1", track=9, truth="Ada", model="gaitheat", distances={"Ada": 0.1})
    )
    one = record([track()], windows)
    one.models, one.units, one.threshold = (
        {"gaitheat": "ab", "gaitbase": "cd"},
        {"gaitheat": 0.5, "gaitbase": 5.0},
        0.9,
    )
    fused = fuse(one)
    assert [window.truth for window in fused] == ["Ada", "Bela"]
    assert fused[0].distances == pytest.approx({"Ada": (0.4 + 0.8) / 2, "Bela": (0.6 + 1.8) / 2})
    found = curves(one)
    assert list(found) == ["gaitheat", "gaitbase", FUSED]
    assert len(found["gaitheat"].genuine) == 3
    assert len(found[FUSED].genuine) == len(found[FUSED].impostor) == 2
    assert found[FUSED].eer == 0.0
    page = render(one)
    assert all(f"<td>{name}</td>" in page for name in found)
    assert any(
        line.startswith("Models") and "fused 0.0 %" in " ".join(summary(one, score(one)))
        for line in summary(one, score(one))
    )


class Checker(html.parser.HTMLParser):
    """Finds unbalanced tags and everything a browser would fetch."""

    VOID = ("meta", "img", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.fetched: list[str | None] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [
            v for k, v in attrs if k in ("src", "href") and not (v or "").startswith("data:image/")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def check(page: str) -> str:
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.fetched == []
    assert not re.search(r"url\(|@import|<script|<link", page)
    return " ".join(checker.texts)


def test_the_report_is_self_contained_and_escapes_names() -> None:
    tracks = [track(person="Ada", pictures=[b"\xff\xd8"], heatmaps=[b"\xff\xd8"]), track("cam1", 2, "<Gus>")]
    windows = [
        WindowRecord(camera="cam1", track=1, truth="Ada", distances={"Ada": 0.3, "Bela": 0.8}),
        WindowRecord(camera="cam1", track=2, truth="<Gus>", distances={"Ada": 0.9, "Bela": 1.0}),
    ]
    page = render(record(tracks, windows))
    text = check(page)
    assert "color-scheme: light dark" in page
    assert "<Gus>" in text
    assert "<Gus>" not in page
    for part in (
        "1 / 2",
        "9 / 9",
        "identified",
        "stranger rejected",
        "Equal error rate",
        "a machine",
        "55 ms",
    ):
        assert part in text


def test_cameras_that_waited_have_no_latency() -> None:
    waited = msgspec.structs.replace(record([]), live=False)
    assert "55 ms" not in check(render(waited))
    assert "The cameras waited" in check(render(waited))
    assert "55 ms" not in "\n".join(summary(waited, score(waited)))


def test_an_empty_run_has_a_report_too() -> None:
    assert "0 / 0" in check(render(record([])))


def test_a_record_survives_json() -> None:
    one = record([track(person="Ada", pictures=[b"\x00\x01"])])
    assert msgspec.json.decode(msgspec.json.encode(one), type=DemoRecord) == one
