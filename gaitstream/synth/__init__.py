"""A synthetic world with ground truth: walkers, cameras, pictures.

The parts, in the order they build on each other: `identity` (who), `appearance` (what they wear), `paths` and
`gait` (how they move), `cameras` (pinhole), `truth` (what a camera should see), `render` (what it does see),
`world` (a site with people), `source` (`synth://` addresses), `studio` (samples for training), `dataset`
(files on disk).
"""

from __future__ import annotations

from gaitstream.synth.identity import Identity, sample_identity

__all__ = ["Identity", "sample_identity"]
