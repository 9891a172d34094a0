"""The last elements of the annotated stream in real GStreamer, run by the system's Python.

    /usr/bin/python3 gst_view.py play NODES    plays JSON of kind, name, properties behind a test picture
    /usr/bin/python3 gst_view.py list KIND...  types, ranges and enums of the elements' properties as JSON

The encoder is x264enc, in the place of NVIDIA's. Prints `ready` when it plays.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # type: ignore[import-not-found]  # noqa: E402

TYPES = {"gint": "int", "guint": "uint", "gboolean": "boolean", "gchararray": "string", "gint64": "int64"}
PICTURE = (
    "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=15/1 "
    "! x264enc tune=zerolatency key-int-max=15"
)


def play(nodes: list[Any]) -> None:
    pipeline = Gst.parse_launch(f"{PICTURE} name=first")
    last = pipeline.get_by_name("first")
    for kind, name, properties in nodes:
        element = Gst.ElementFactory.make(kind, name)
        for key, value in properties.items():
            element.set_property(key, value)
        pipeline.add(element)
        assert last.link(element)
        last = element
    pipeline.set_state(Gst.State.PLAYING)
    pipeline.get_state(5 * Gst.SECOND)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


def describe(kind: str) -> dict[str, Any]:
    element = Gst.ElementFactory.make(kind)
    found = {}
    for one in element.list_properties():
        entry: dict[str, Any] = {"type": TYPES.get(one.value_type.name, "enum")}
        if hasattr(one, "minimum") and entry["type"] != "boolean":
            entry["range"] = [one.minimum, one.maximum]
        if hasattr(one, "enum_class"):
            entry["enum"] = [int(value) for value in one.enum_class.__enum_values__]
        found[one.name] = entry
    pads = [template.name_template for template in element.get_factory().get_static_pad_templates()]
    return {"properties": found, "pads": sorted(pads)}


if __name__ == "__main__":
    Gst.init(None)
    if sys.argv[1] == "play":
        play(json.loads(sys.argv[2]))
    else:
        sys.stdout.write(json.dumps({kind: describe(kind) for kind in sys.argv[2:]}))
