"""Ray reads whether to send a token once, when it is loaded."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest

from gaitstream.errors import GalleryError
from gaitstream.gallery.ray_loading import load_ray


def test_a_ray_that_was_loaded_without_tokens_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with pytest.raises(GalleryError, match="RAY_AUTH_MODE=token before"):
        load_ray("a gallery in shards", GalleryError)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert load_ray("a gallery in shards", GalleryError) is sys.modules["ray"]


def test_tokens_are_on_before_ray_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[str | None] = []

    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "ray":
                found.append(os.environ.get("RAY_AUTH_MODE"))
                raise ImportError(name)

    monkeypatch.delitem(sys.modules, "ray", raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(Exception, match=r"gaitstream\[cluster\]"):
        load_ray("a gallery in shards", GalleryError)
    assert found == ["token"]
