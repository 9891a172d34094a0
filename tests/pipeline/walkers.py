"""Configurations over the real video of four walkers."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import yaml

FRAMES = 235


def walkers(shared: Path) -> Path:
    """Four people who walk towards the camera, 480 x 854, 30 fps."""
    return shared / "media" / "walkers_gallery.mp4"


def camera(shared: Path, name: str = "gate", **own: Any) -> dict[str, Any]:
    """One camera that plays the walkers."""
    return {"id": name, "url": str(walkers(shared)), "fps": None, **own}


def write_cams(
    folder: Path,
    shared: Path,
    bundle: Path | None,
    cameras: list[dict[str, Any]] | None = None,
    **sections: Any,
) -> Path:
    """Write a cams.yaml with the real detector and pose model."""
    models: dict[str, Any] = {"detector": str(shared / "models" / "yolox_nano_coco.onnx")}
    if bundle is not None:
        models["pose"] = str(shared / "models" / "simplepose_nano_coco17.onnx")
        models["gaitheat"] = str(bundle) + "/"
    data = {
        "cameras": cameras or [camera(shared)],
        "models": models,
        "events": {"endpoint": "tcp://127.0.0.1:0"},
        **sections,
    }
    path = folder / "cams.yaml"
    new = folder / ".cams.yaml.new"
    new.write_text(yaml.safe_dump(data))
    new.replace(path)
    return path


def free_port() -> int:
    """A port with a free one behind it."""
    for port in range(31_000, 60_000, 2):
        try:
            with socket.socket() as one, socket.socket() as two:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
                return port
        except OSError:
            continue
    raise AssertionError("no free ports")
