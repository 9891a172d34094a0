"""From cameras to identity events: source, detect, track, encode, pool, embed, identify, publish."""
