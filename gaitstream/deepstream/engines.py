"""Compiles the engines before DeepStream starts, with progress, into a folder that outlives the container.

nvinfer would build a missing engine itself, silently, for minutes, and at every start: it writes beside the
graph. Here the engine cache decides (by graph, TensorRT version and GPU), and nvinfer finds a file.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

from gaitstream.deepstream.nvinfer import engine_path
from gaitstream.deepstream.plan import DetectorPlan, EncoderPlan, Plan
from gaitstream.engines.base import Batch, BuildRequest, Progress, no_progress
from gaitstream.engines.opening import build_engine
from gaitstream.errors import ConfigError, EngineError, MissingExtraError

log = logging.getLogger(__name__)

TOLD_EVERY_S = 10.0
"""Between two lines of progress of one phase."""


def prepare_engines(plan: Plan, progress: Progress = no_progress) -> list[Path]:
    """Build what is missing or stale.

    Args:
        plan: the models.
        progress: told of builds under way.

    Returns:
        The engine files.

    Raises:
        EngineError: a graph does not compile, or TensorRT's Python module is missing and the engines are too.
        ConfigError: the folder cannot be written.
    """
    models: tuple[DetectorPlan | EncoderPlan, ...] = (plan.detector, *plan.encoders)
    return [_prepare(plan, model, progress) for model in models]


def _prepare(plan: Plan, model: DetectorPlan | EncoderPlan, progress: Progress) -> Path:
    target = Path(engine_path(plan, model))
    precision = "fp16" if model.half else "fp32"
    request = BuildRequest(model.onnx, precision, f"cuda:{plan.gpu}", Batch(1, model.batch, model.batch))
    try:
        found = build_engine(request, "tensorrt", progress=progress)
    except MissingExtraError as error:
        if target.is_file():
            log.warning("TensorRT has no Python module here: %s is taken as it is", target.name)
            return target
        raise EngineError(
            f"{target.name} is not there, and TensorRT has no Python module to build it (nvinfer would "
            "compile for minutes at every start): use the image gaitstream:gpu, or install python3-libnvinfer"
        ) from error
    if found.built.blob is None:
        raise EngineError(f"{model.onnx.name}: TensorRT gave no engine file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_file() or target.read_bytes() != found.built.blob:
            part = target.with_suffix(".part")
            part.write_bytes(found.built.blob)
            part.replace(target)
    except OSError as error:
        raise ConfigError(f"{target.parent} cannot be written ({error.strerror}); mount a volume") from error
    return target


def print_progress() -> Progress:
    """Progress as log lines, at each new phase and every ten seconds: a log has no cursor to move."""
    last_phase, last_s = "", 0.0

    def report(phase: str, done: float) -> bool:
        nonlocal last_phase, last_s
        now_s = time.monotonic()
        if phase != last_phase or now_s - last_s >= TOLD_EVERY_S:
            log.info("building engines: %s %.0f%%", phase, done * 100)
            last_phase, last_s = phase, now_s
        return True

    return report
