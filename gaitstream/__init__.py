"""Real-time, multi-camera gait identification."""

import os
import sys

__version__ = "0.1.0"

# What watches people calls nobody. OpenVINO reports each of its imports to Google Analytics, in a process of
# its own and without being asked, unless this package is missing, for which it has a stand-in. ONNX Runtime
# keeps a device id and uploads events to its maker; it reads this variable when it is loaded, and has begun
# before its own switch can be called.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
