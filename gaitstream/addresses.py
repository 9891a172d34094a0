"""Where gaitstream listens when nobody says where. It imports nothing: the command line's help reads it."""

LAST_PORT = 65535
DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
"""Of events."""
DEFAULT_REPLAY = "tcp://127.0.0.1:5557"
"""Of requests for missed events."""
HANDOFF_ENDPOINT = "tcp://127.0.0.1:5558"
"""Of what follows people from camera to camera."""
FREE_ENDPOINT = "tcp://127.0.0.1:0"
"""Any port that is free."""
CONSOLE_PORT = 8470
