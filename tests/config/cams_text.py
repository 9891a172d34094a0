"""A cams.yaml as people write it, with comments, an anchor and a variable."""

TEXT = """\
# Our site. Ask Ben before you change the yard.
cameras:
  - id: gate   # by the bicycle stands
    url: rtsp://viewer:${RTSP_PASSWORD:-none}@10.0.0.5/stream1
    fps: 15
  # The yard is dark.
  - {id: yard, url: "synth://plaza?live=1", fps: 5}

x-note: kept
models:
  detector: demo  # for now
"""
