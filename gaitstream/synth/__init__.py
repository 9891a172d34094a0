"""A synthetic world with ground truth: walkers, cameras, pictures.

The parts, in the order they build on each other: `identity` (who), `appearance` (what they wear), `paths` and
`gait` (how they move), `cameras` (pinhole), `truth` (what a camera should see), `background`, `figure` and
`render` (what it does see), `world` (a site with people), `address` and `source` (`synth://` cameras),
`studio` (samples for training), `dataset` (files on disk).
"""

from __future__ import annotations

from gaitstream.synth.identity import WalkerIdentity, sample_identity
from gaitstream.synth.source import SyntheticCamera, open_synthetic
from gaitstream.synth.truth import Truth

__all__ = ["SyntheticCamera", "Truth", "WalkerIdentity", "open_synthetic", "sample_identity"]
