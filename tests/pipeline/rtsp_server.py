"""An RTSP server for tests: GStreamer's, run by the system's Python.

    /usr/bin/python3 rtsp_server.py PORT [--password PASSWORD]

Mounts: /a and /b (320 x 240, 15 fps), /changing (changes its resolution every second), /lossy (coded frames
go missing), /split (key frames come in two slices with parameter sets between them), /oblong (pixels of
12:11). With a password the
user is `viewer`. Prints `ready` when it listens.
"""

from __future__ import annotations

import argparse
import itertools
from typing import Any

import gi  # type: ignore[import-not-found]

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]  # noqa: E402

SIZES = ((320, 240), (480, 360))
PIPELINE = (
    "( videotestsrc is-live=true pattern=ball ! videoscale ! capsfilter name=size caps={caps} "
    "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 threads={slices} {extra} "
    "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


def caps(size: tuple[int, int]) -> str:
    return f"video/x-raw,width={size[0]},height={size[1]},framerate=15/1"


def change_size(_: Any, media: Any) -> None:
    turns = itertools.cycle(SIZES[::-1])
    size_filter = media.get_element().get_by_name("size")

    def turn() -> bool:
        size_filter.set_property("caps", Gst.Caps.from_string(caps(next(turns))))
        return True

    GLib.timeout_add(1000, turn)


def protect(server: Any, factories: list[Any], password: str) -> None:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic("viewer", password), token)
    server.set_auth(auth)
    for factory in factories:
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(permissions)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("port")
    parser.add_argument("--password")
    args = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(args.port)
    factories = []
    for mount in ("a", "b", "changing", "lossy", "split", "oblong"):
        factory = GstRtspServer.RTSPMediaFactory()
        extra = "! identity drop-probability=0.2" if mount == "lossy" else ""
        slices = 2 if mount in ("lossy", "split") else 1
        shape = ",pixel-aspect-ratio=12/11" if mount == "oblong" else ""
        factory.set_launch(PIPELINE.format(caps=caps(SIZES[0]) + shape, extra=extra, slices=slices))
        factory.set_shared(True)
        if mount == "changing":
            factory.connect("media-configure", change_size)
        server.get_mount_points().add_factory(f"/{mount}", factory)
        factories.append(factory)
    if args.password:
        protect(server, factories, args.password)
    server.attach(None)
    print("ready", flush=True)  # noqa: T201
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
