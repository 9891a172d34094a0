"""Runners by name, and `gaitstream run`, which takes the one that suits."""
