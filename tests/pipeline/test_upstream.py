"""Whoever runs with another pose model than the gallery was filled with is told."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from gaitstream import zoo
from gaitstream.cli import main
from gaitstream.config.schema import Config
from gaitstream.gallery import Enrolment, Gallery
from gaitstream.gallery.upstream import UpstreamModel
from gaitstream.models.resolve import find_bundle
from gaitstream.pipeline.enroll import Walk, enroll_walk
from gaitstream.pipeline.known import GalleryFollower, gallery_warnings
from gaitstream.pipeline.upstream import upstream_of


def site(folder: Path, **models: object) -> Config:
    return Config.model_validate(
        {
            "cameras": [{"id": "gate", "url": "synth://?seed=1"}],
            "models": {"gaitheat": "demo", **models},
            "gallery": {"path": str(folder / "people.gallery"), "key": "none"},
        }
    )


def other_pose(folder: Path) -> str:
    """The demo's pose model, as one that was trained anew: its graph is not the same."""
    found = zoo.find("demo", "pose")
    graph = onnx.load(found.with_suffix(".onnx"))
    graph.doc_string = "trained anew"
    onnx.save(graph, folder / "pose.onnx")
    shutil.copy(found, folder / "pose.json")
    return str(folder / "pose.json")


def walk(seed: int) -> Walk:
    bundle = find_bundle("demo", family="gaitheat", verify=False)
    embedding = bundle.manifest.embedding
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=(embedding.parts, embedding.dim)).astype(np.float32)
    return Walk(1, {"gaitheat": [parts]}, {"gaitheat": bundle.fingerprint})


def test_what_finds_joints_and_masks_is_named_by_its_graph(tmp_path: Path) -> None:
    demo = upstream_of(site(tmp_path, gaitbase="demo", segmenter="demo"))
    assert {name: [one.role for one in found] for name, found in demo.items()} == {
        "gaitheat": ["pose"], "gaitbase": ["segmenter"]
    }  # fmt: skip
    [pose] = demo["gaitheat"]
    assert upstream_of(site(tmp_path, pose="demo"))["gaitheat"] == (pose,)
    path = str(zoo.find("demo", "pose"))
    assert upstream_of(site(tmp_path, pose=path))["gaitheat"] == (
        UpstreamModel("pose", "pose.json", pose.digest),
    )
    [other] = upstream_of(site(tmp_path, pose=other_pose(tmp_path)))["gaitheat"]
    assert other.digest != pose.digest


def test_a_model_that_is_not_there_is_left_to_whoever_opens_it(tmp_path: Path) -> None:
    assert upstream_of(site(tmp_path, pose="nowhere/pose.onnx")) == {"gaitheat": ()}
    assert upstream_of(site(tmp_path, gaitbase="nowhere/bundle"))["gaitbase"] == ()


def test_who_runs_with_another_pose_model_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = site(tmp_path), site(tmp_path, pose=other_pose(tmp_path))
    enroll_walk(own, "Ada", walk(1), "test")
    assert gallery_warnings(own) == []
    [said] = gallery_warnings(other)
    assert "rest on joints of demo " in said
    assert "this runs pose.json " in said
    assert said.endswith("run what filled the gallery, or enrol everybody again into a new one")
    prints = {"gaitheat": find_bundle("demo", family="gaitheat", verify=False).fingerprint}
    logger = logging.getLogger("gaitstream")
    logger.addHandler(caplog.handler)
    for config in (own, other):
        GalleryFollower(config, prints, upstream=upstream_of(config)).close()
    logger.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records if "rest on" in record.getMessage()} == {said}
    enroll_walk(other, "Bob", walk(2), "test")
    [mixed] = gallery_warnings(own)
    assert "rest on joints of pose.json " in mixed
    assert main(["gallery", "info", "--gallery", str(own.gallery.path), "--key", "none"]) == 0
    shown = capsys.readouterr().out
    assert "with joints of demo " in shown
    assert "with joints of pose.json " in shown


def test_templates_of_an_earlier_version_are_not_complained_of(tmp_path: Path) -> None:
    held = walk(1)
    [templates] = held.embeddings["gaitheat"]
    with Gallery(tmp_path / "people.gallery", create=True, key="none") as gallery:
        gallery.enroll_many([Enrolment("Ada", "gaitheat", held.fingerprints["gaitheat"], templates[None])])
    assert gallery_warnings(site(tmp_path, pose=other_pose(tmp_path))) == []
