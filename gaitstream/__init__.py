"""Real-time, multi-camera gait identification."""

__version__ = "0.1.0"
