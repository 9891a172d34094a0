from __future__ import annotations

from pathlib import Path

import yaml

from gaitstream.fleet.demo import CAMERAS, CAPACITY, NODES, VICTIM, demo_site
from gaitstream.fleet.site import SiteDocument


def test_the_site_of_the_demo_is_one_that_three_nodes_carry(tmp_path: Path) -> None:
    path = tmp_path / "cams.yaml"
    path.write_text(yaml.safe_dump(demo_site(tmp_path / "fleet.key")))
    _, config = SiteDocument.read(path)
    assert len(config.cameras) == CAMERAS
    assert VICTIM in NODES
    assert config.fleet.node(NODES[0]).capacity == CAPACITY
    assert CAPACITY * (len(NODES) - 1) >= CAMERAS
