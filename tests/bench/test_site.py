"""Planning from a site's own cams.yaml: its cameras, rates and models; guesses are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitstream.bench.clips import make_clips
from gaitstream.bench.plan import make_plan
from gaitstream.bench.site import config_on, measure_site, read_site, unpaced_site
from gaitstream.cli import main
from gaitstream.config.reading import load_config
from gaitstream.errors import ConfigError

SITE = """
cameras:
- {id: a, url: 'rtsp://h/1', fps: 10, detect_every: 2, region_size: [1920, 1080]}
- {id: b, url: 'rtsp://h/2', fps: 20}
- {id: c, url: 'rtsp://h/3', fps: null}
- {id: d, url: 'rtsp://h/4', enabled: false}
models: {detector: demo, pose: demo, gaitheat: demo}
events: {endpoint: 'tcp://127.0.0.1:0'}
"""


@pytest.fixture
def cams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "cams.yaml"
    path.write_text(SITE)
    return path


def test_a_configuration_says_what_it_can_and_the_rest_is_a_guess(cams: Path) -> None:
    question = read_site(load_config(cams), None, None)
    site = question.site
    assert (site.cameras, site.model) == (3, "gaitheat")
    assert site.fps == pytest.approx((10 + 20 + 25) / 3)
    assert site.megapixels == pytest.approx((1920 * 1080 / 1e6 + 2 * 0.9216) / 3)
    assert question.detect_share == pytest.approx((0.5 + 1 + 1) / 3)
    assert [line.split()[0] for line in question.guesses] == ["people", "c", "sizes"]
    told = read_site(load_config(cams), 2.0, 2.0)
    assert (told.site.people, told.site.megapixels) == (2.0, 2.0)
    assert [line.split()[0] for line in told.guesses] == ["c"]


def test_a_site_without_cameras_or_recognizer_is_an_error(cams: Path) -> None:
    cams.write_text(SITE.replace(", gaitheat: demo", ""))
    with pytest.raises(ConfigError, match="no recognizer"):
        read_site(load_config(cams), None, None)
    cams.write_text("cameras: [{id: a, url: x, enabled: false}]")
    with pytest.raises(ConfigError, match="no camera is enabled"):
        read_site(load_config(cams), None, None)


def test_options_that_do_not_go_together_are_refused(cams: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--config", str(cams), "--device", "l4"]) == 2
    assert "leave --rates, --device" in capsys.readouterr().err
    for option in (["--fps", "5"], ["--model", "biggait"]):
        assert main(["plan", "--config", str(cams), *option]) == 2
        assert "leave --fps and --model out" in capsys.readouterr().err
    assert main(["plan", "--cameras", "3", "--memory", "8"]) == 2
    assert "give --enrolled N with it" in capsys.readouterr().err
    assert main(["plan", "--cameras", "3", "--device", ""]) == 2
    assert "no datasheet figures for device ''" in capsys.readouterr().err


def test_synthetic_people_are_no_visitors_of_the_site(cams: Path, tmp_path: Path) -> None:
    """The measured run compares with the site's gallery, and leaves it and its folder as they are."""
    gallery = "gallery: {path: people.gallery, visitors: {enabled: true}, retention: {person_days: 1}}\n"
    cams.write_text(SITE + gallery)
    (tmp_path / "clips").mkdir()
    clips = make_clips(tmp_path / "clips", 2, (640, 360), 4.0)
    rows = unpaced_site(str(cams), [str(clip) for clip in clips], 1.0, 2, [640, 360])
    assert rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cams.yaml", "clips"]
    config = load_config(cams)
    own = config_on(config, clips)
    assert own.gallery.path == config.gallery.path
    assert not own.gallery.visitors.enabled
    assert own.gallery.retention.person_days is None


@pytest.mark.slow
def test_the_sites_models_are_measured(cams: Path) -> None:
    """With detection every other frame, detection costs about half."""
    question = read_site(load_config(cams), 4.0, 0.9216)
    said: list[str] = []
    rates, doubts = measure_site(cams, question, said.append, seconds=2.0)
    assert doubts == []
    assert len(said) == 3
    plan = make_plan(question.site, rates)
    assert {"detect", "track", "pose", "gaitheat"} <= {step.name for step in plan.steps}
    assert plan.load == pytest.approx(sum(step.load for step in plan.steps))
    assert plan.load > 0
