"""Where frames come from: cameras, files, folders and the synthetic world behind one small protocol."""

from gaitstream.pipeline.source.base import CameraRefusedError, Picture, Source
from gaitstream.pipeline.source.reader import CameraReader, ReaderCounters, State, StateChange
from gaitstream.pipeline.source.select import create_source

__all__ = [
    "CameraReader",
    "CameraRefusedError",
    "Picture",
    "ReaderCounters",
    "Source",
    "State",
    "StateChange",
    "create_source",
]
