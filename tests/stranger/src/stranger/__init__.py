"""Toy plug-ins for gaitstream, one folder each."""
