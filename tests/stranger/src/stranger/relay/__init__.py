"""A runner: one camera after the other."""
