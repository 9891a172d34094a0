"""BigGait and GaitHeat per 30-frame tracklet, beside eager PyTorch and the machine's floor.

Same as 'gaitstream bench recognizer'; see docs/benchmarks.md.
"""

from gaitstream.bench.command import main

if __name__ == "__main__":
    raise SystemExit(main("recognizer", __doc__))
