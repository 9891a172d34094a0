"""Everything that turns pixels into numbers: detectors, pose models, recognizers, and the bundles on disk."""
