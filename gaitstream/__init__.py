"""Real-time, multi-camera gait identification."""

import sys

__version__ = "0.1.0"

# OpenVINO reports each of its imports to Google Analytics, in a process of its own and without being asked,
# unless this package is missing, for which it has a stand-in. What watches people calls nobody.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
