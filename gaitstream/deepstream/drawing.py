"""The graph as an SVG picture: elements in order of flow, what is set on them, where probes hang."""

from __future__ import annotations

from html import escape

from gaitstream.deepstream.elements import Graph, Node
from gaitstream.deepstream.graph import SOURCE

WIDTH, GAP, MARGIN = 270, 40, 24
LINE, HEAD = 15, 44
MOST_LINES = 9
PER_ROW = 4

_COLOURS = {
    "nvmultiurisrcbin": "#dbeafe",
    "nvinfer": "#dcfce7",
    "nvtracker": "#fef3c7",
    "fakesink": "#e5e7eb",
    "queue": "#f9fafb",
}
_HIDDEN = ("uri-list", "sensor-id-list", "sensor-name-list")
_PROBES = {
    "muxer": "probe: buffers counted",
    "detection": "probe: the detector's boxes kept",
    "crop": "probe: crop rule, first encoder",
    "next": "probe: crop rule, next encoder",
    "copy": "probe: boxes restored; features, ids, times copied out",
}


def draw(graph: Graph) -> str:
    """The picture's text. Cameras are counted, not named: their URLs are nobody's business."""
    places = {}
    boxes = []
    row_top = MARGIN + 30
    nodes = list(graph.nodes)
    probes = dict(graph.probes)
    for start in range(0, len(nodes), PER_ROW):
        row = nodes[start : start + PER_ROW]
        height = max(_height(node, probes) for node in row)
        for column, node in enumerate(row):
            x = MARGIN + column * (WIDTH + GAP)
            places[node.name] = (x, row_top, _height(node, probes))
            boxes.append(_box(node, x, row_top, probes))
        row_top += height + GAP
    lines = [_arrow(places[link.source], places[link.target]) for link in graph.links]
    width = 2 * MARGIN + PER_ROW * WIDTH + (PER_ROW - 1) * GAP
    title = f'<text x="{MARGIN}" y="{MARGIN + 6}" class="t">gaitstream on DeepStream 9.1</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{row_top}" '
        f'viewBox="0 0 {width} {row_top}">\n'
        "<defs><marker id='a' viewBox='0 0 8 8' refX='7' refY='4' markerWidth='7' markerHeight='7' "
        "orient='auto'>"
        "<path d='M0 0L8 4L0 8z' fill='#374151'/></marker></defs>\n"
        "<style>text{font:11px monospace;fill:#111827}.n{font-weight:bold;font-size:13px}"
        ".t{font:bold 16px sans-serif}.k{fill:#6b7280}.p{fill:#b91c1c}</style>\n"
        f'<rect width="{width}" height="{row_top}" fill="white"/>\n{title}\n'
        + "\n".join([*lines, *boxes])
        + "\n</svg>\n"
    )


def _texts(node: Node) -> list[str]:
    shown = [f"{key} = {value}" for key, value in node.properties.items() if key not in _HIDDEN]
    if node.name == SOURCE:
        shown.insert(0, f"{len(str(node.properties['sensor-id-list']).split(','))} cameras")
    if len(shown) > MOST_LINES:
        shown = [*shown[: MOST_LINES - 1], f"... {len(shown) - MOST_LINES + 1} more"]
    return [text if len(text) <= 37 else f"{text[:18]}...{text[-16:]}" for text in shown]


def _height(node: Node, probes: dict[str, str]) -> int:
    return HEAD + LINE * len(_texts(node)) + (2 * LINE if node.name in probes else 0)


def _box(node: Node, x: int, y: int, probes: dict[str, str]) -> str:
    parts = [
        f'<rect x="{x}" y="{y}" width="{WIDTH}" height="{_height(node, probes)}" rx="6" '
        f'fill="{_COLOURS.get(node.kind, "#ede9fe")}" stroke="#374151"/>',
        f'<text x="{x + 8}" y="{y + 18}" class="n">{escape(node.name)}</text>',
        f'<text x="{x + 8}" y="{y + 33}" class="k">{escape(node.kind)}</text>',
    ]
    bottom = y + HEAD + 4
    for text in _texts(node):
        parts.append(f'<text x="{x + 8}" y="{bottom}">{escape(text)}</text>')
        bottom += LINE
    if node.name in probes:
        first, _, rest = _PROBES[probes[node.name]].partition("; ")
        parts += [
            f'<text x="{x + 8}" y="{bottom}" class="p">{escape(first)}</text>',
            f'<text x="{x + 8}" y="{bottom + LINE}" class="p">{escape(rest)}</text>',
        ]
    return "\n".join(parts)


def _arrow(source: tuple[int, int, int], target: tuple[int, int, int]) -> str:
    """Straight within a row; down and back to the left between rows."""
    (x1, y1, h1), (x2, y2, _h2) = source, target
    if y1 == y2 and x2 > x1:
        points = f"M{x1 + WIDTH} {y1 + 20}H{x2 - 1}"
        if x2 - x1 > WIDTH + GAP:
            points = f"M{x1 + WIDTH // 2} {y1}V{y1 - 12}H{x2 + WIDTH // 2}V{y2 - 1}"
    elif y1 == y2:
        points = f"M{x1 + WIDTH // 2} {y1}V{y1 - 16}H{x2 + WIDTH // 2}V{y2 - 1}"
    else:
        points = f"M{x1 + WIDTH // 2} {y1 + h1}V{y2 - GAP // 2}H{x2 + WIDTH // 2}V{y2 - 1}"
    return f'<path d="{points}" fill="none" stroke="#374151" marker-end="url(#a)"/>'
