"""`report.html`: one file without outside resources, for light and dark; a pure function of the record."""

from __future__ import annotations

import base64
from html import escape
from importlib.resources import files

from gaitstream.demo import charts
from gaitstream.demo.record import CameraRun, DemoRecord, PersonRecord, TrackRecord
from gaitstream.demo.score import MEANINGS, DemoScore, Roc, Verdict, roc, score, verdict


def render(record: DemoRecord) -> str:
    """The whole page."""
    result = score(record)
    sections = [
        _head(record, result),
        _section("The cameras", _cameras(record)),
        _section("Who was where, and what was said", _timeline(record)),
        _section("How near is near", _verification(record)),
        _section("Everybody, picture by picture", "".join(_person(record, one) for one in record.people)),
        _section("Every track", _table(record)),
        _section("How it ran", _machine(record)),
    ]
    body = "".join(sections)
    style = files("gaitstream.demo").joinpath("report.css").read_text(encoding="utf-8")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>gaitstream demo</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _head(record: DemoRecord, result: DemoScore) -> str:
    enrolled = [person for person in record.people if person.enrolled]
    strangers = len(record.people) - len(enrolled)
    found = sum(bool(cameras) for cameras in result.identified_on.values())
    slow = max((camera.p95_ms or 0.0 for camera in record.cameras), default=None)
    fps = sum(camera.fps for camera in record.cameras)
    tiles = [
        (f"{found} / {len(enrolled)}", "enrolled people recognised"),
        (f"{result.right} / {result.decided}", "tracks decided rightly"),
        (str(result.verdicts[Verdict.WRONG]), "wrong names"),
        (f"{len(result.strangers_named)} / {strangers}", "strangers given a name"),
        (f"{fps:.0f}", f"frames per second, {len(record.cameras)} cameras"),
        (_latency(record, slow), "from capture to analysed, 95% of frames"),
        (_latency(record, record.event_p95_ms), "from a window's last frame to its published decision, 95%"),
        (f"{record.events_received} / {record.events_sent}", "events received"),
    ]
    cells = "".join(
        f'<div class="card tile"><b class="num">{escape(value)}</b><span>{escape(label)}</span></div>'
        for value, label in tiles
    )
    names = ", ".join(person.name for person in enrolled)
    others = ", ".join(person.name for person in record.people if not person.enrolled)
    stopped = ""
    if record.stopped:
        stopped = (
            f'<p class="stopped">Stopped by the user after {record.seconds:.0f} s: this page is about what '
            "was seen until then.</p>"
        )
    return (
        f"<h1>gaitstream demo</h1>{stopped}<p>{escape(names)} were enrolled from one camera, on another day "
        f"and in other clothes. Then {len(record.people)} people walked past {len(record.cameras)} cameras "
        f"for {record.seconds:.0f} s; {escape(others)} are strangers. The pipeline saw pictures only; the "
        f"ground truth of this synthetic world was used to score it "
        f'afterwards.</p><p class="soft">{escape(record.started)} · {escape(record.machine)} · seed '
        f"{record.seed}, site {escape(record.site)} · gaitstream {escape(record.version)}</p>"
        f'<div class="tiles">{cells}</div>'
    )


def _cameras(record: DemoRecord) -> str:
    return '<div class="three">' + "".join(_camera(record, camera) for camera in record.cameras) + "</div>"


def _camera(record: DemoRecord, camera: CameraRun) -> str:
    alt = f"Picture of {camera.name} with a box around each person and what was said of them"
    picture = _image(camera.still, alt) if camera.still else ""
    return (
        f"<figure>{picture}<figcaption><b>{escape(camera.name)}</b> · {camera.fps:.1f} frames/s, "
        f"{camera.analysed} analysed, {camera.dropped} dropped · latency {_latency(record, camera.p50_ms)} "
        f"(median), {_latency(record, camera.p95_ms)} (95%)</figcaption></figure>"
    )


def _latency(record: DemoRecord, value: float | None) -> str:
    """A latency, where the cameras did not wait for the pipeline."""
    return "-" if value is None or not record.live else f"{value:.0f} ms"


def _timeline(record: DemoRecord) -> str:
    legend = "".join(f"<dt>{_chip(kind)}</dt><dd>{escape(MEANINGS[kind])}</dd>" for kind in Verdict)
    return (
        '<p class="soft">A bar is a track, in the row of the person it shows most. It is grey until there is '
        "a decision, then in the colour of the final one.</p>"
        f'<div class="card chart" tabindex="0">{charts.timeline(record)}</div><dl>{legend}</dl>'
    )


def _verification(record: DemoRecord) -> str:
    curve = roc(record)
    dots = f'<div class="card chart" tabindex="0">{charts.distances(record)}</div>'
    explained = (
        '<p class="soft">Each dot is a track and its distance to the nearest enrolled person, in the colour '
        "of its verdict; right of the threshold nobody is given a name.</p>"
    )
    if curve is None:
        return explained + dots
    return (
        f"{explained}{dots}"
        f'<p class="soft">Below: every full window against every enrolled person, '
        f"{len(curve.genuine)} genuine pairs (green) and {len(curve.impostor)} impostor pairs (blue) of this "
        f"one run. {_at_threshold(curve, record.threshold)}Equal error rate "
        f"<b>{100 * curve.eer:.1f}%</b>. Windows of one walk resemble each other, "
        f"so read it as an illustration; the model card has the measurement.</p>"
        f'<div class="two"><div class="card">{charts.histogram(curve, record.threshold)}</div>'
        f'<div class="card">{charts.roc_curve(curve)}</div></div>'
    )


def _at_threshold(curve: Roc, threshold: float | None) -> str:
    if threshold is None:
        return ""
    right, wrong = (100 * float((pairs <= threshold).mean()) for pairs in (curve.genuine, curve.impostor))
    return f"The threshold accepts {right:.0f}% of the genuine and {wrong:.1f}% of the impostor pairs. "


def _person(record: DemoRecord, person: PersonRecord) -> str:
    tracks = [track for track in record.tracks if track.truth == person.name and track.pictures]
    rows = ""
    if person.pictures:
        pictures = "".join(_image(data) for data in person.pictures)
        source = f"{person.tracklets} track{'' if person.tracklets == 1 else 's'}"
        rows += (
            f'<div class="strip"><div class="what"><b>Enrolment</b><br><span class="soft">{person.templates} '
            f"templates from {source}</span></div>"
            f"{_strip_of(pictures, f'{person.name} walking at the enrolment')}</div>"
        )
    rows += "".join(_strip(record, track) for track in tracks)
    if not tracks:
        rows += '<p class="soft">No track in the live run filled a window.</p>'
    kind = "enrolled" if person.enrolled else "stranger"
    title = f'<h3>{escape(person.name)} <span class="soft">{kind}</span></h3>'
    return f'<div class="card person">{title}{rows}</div>'


def _strip(record: DemoRecord, track: TrackRecord) -> str:
    kind = verdict(record, track)
    said = track.person or (track.reason or track.status).replace("_", " ")
    near = f"distance {track.distance:.3f}" if track.distance is not None else f"{track.accepted} frames"
    pairs = "".join(
        f'<div class="pair">{_image(picture)}{_image(maps)}</div>'
        for picture, maps in zip(track.pictures, track.heatmaps, strict=False)
    )
    alt = (
        f"Track {track.track} of {track.camera} in the order of time, each picture above its aligned heatmaps"
    )
    return (
        f'<div class="strip"><div class="what"><b>{escape(track.camera)} #{track.track}</b> {_chip(kind)}<br>'
        f'said: {escape(said)}<br><span class="soft">{track.first_s:.1f} to {track.last_s:.1f} s, '
        f"{near}</span></div>{_strip_of(pairs, alt)}</div>"
    )


def _strip_of(pictures: str, alt: str) -> str:
    """Pictures that one text describes; it scrolls sideways where there is no room."""
    return f'<div class="pictures" role="img" tabindex="0" aria-label="{escape(alt)}">{pictures}</div>'


def _table(record: DemoRecord) -> str:
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("track", "truly", "said", "verdict", "distance", "margin", "frames", "not used, why")
    )
    rows = "".join(_row(record, track) for track in record.tracks)
    return f'<div class="card wide" tabindex="0"><table class="num"><tr>{head}</tr>{rows}</table></div>'


def _row(record: DemoRecord, track: TrackRecord) -> str:
    said = track.person or f"{track.status} ({track.reason})".replace("_", " ")
    why = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in track.rejections.items())
    distance = "" if track.distance is None else f"{track.distance:.3f}"
    margin = "" if track.margin is None else f"{track.margin:.3f}"
    cells = (
        f"{escape(track.camera)} #{track.track}",
        escape(track.truth or "nobody"),
        escape(said),
        _chip(verdict(record, track)),
        distance,
        margin,
        f"{track.accepted} of {track.seen}",
        escape(why),
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _machine(record: DemoRecord) -> str:
    stages = "".join(
        f"<tr><td>{escape(name)}</td><td>{value:.1f} ms</td></tr>" for name, value in record.stages.items()
    )
    latency = ""
    if record.live and record.event_p50_ms is not None and record.event_p95_ms is not None:
        latency = (
            f"<p>From the capture of a window's last frame to its published decision: "
            f"{record.event_p50_ms:.0f} ms (median), {record.event_p95_ms:.0f} ms (95%).</p>"
        )
    waited = "" if record.live else " The cameras waited for the pipeline: there is no latency to speak of."
    models = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in record.models.items()
    )
    return (
        f'<div class="two"><div class="card"><p>Enrolment {record.enrolment_s:.1f} s, live run '
        f"{record.seconds:.0f} s, everything {record.total_s:.1f} s.{waited}</p>{latency}"
        f'<p class="soft">Made with <code>{escape(record.command)}</code></p><table>{models}</table></div>'
        f'<div class="card"><table class="num"><tr><th>stage</th><th>mean of a call</th></tr>{stages}</table>'
        f"</div></div>"
    )


def _chip(kind: Verdict) -> str:
    return f'<span class="chip {charts.TONES[kind]}">{escape(kind.value)}</span>'


def _image(data: bytes, text: str = "") -> str:
    """An embedded JPEG; without text where its group has one."""
    return f'<img alt="{escape(text)}" src="data:image/jpeg;base64,{base64.b64encode(data).decode()}">'
