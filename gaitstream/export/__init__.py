"""From a trained checkpoint to a proved bundle; the only place that imports torch."""
