"""Heatmap alignment beside its memory floor: the GPU's forms, or the CPU's where there is no GPU.

Same as 'gaitstream bench pgha'; see docs/benchmarks.md.
"""

from gaitstream.bench.command import main

if __name__ == "__main__":
    raise SystemExit(main("pgha", __doc__))
