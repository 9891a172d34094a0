"""Benchmarks: what this machine does, measured in a way that can be compared.

A suite measures contenders, each in a fresh process, and returns a `Suite` of rows; a `Report` holds the
suites, the machine and the command. `gaitstream bench` runs suites and writes JSON, a table and plots.
"""
