"""A layout of detectors' outputs that gaitstream does not know."""
