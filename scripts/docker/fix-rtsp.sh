#!/usr/bin/env bash
# Put DeepStream's patched RTSP plugins in place of Ubuntu's: scripts/docker/fix-rtsp.sh [SOURCE [TARGET]]
# With Ubuntu's, a pipeline hangs when an RTSP stream ends (DeepStream 9.1, build/BUILD.md). NVIDIA's images carry the
# patched ones in /tmp99 and leave the copying to a script of theirs that also installs codecs.
set -euo pipefail
source=${1:-/tmp99}
target=${2:-$(echo /usr/lib/*-linux-gnu/gstreamer-1.0)}
for library in libgstrtpmanager.so libgstrtsp.so libgstvideoparsersbad.so; do
    if [ ! -f "$source/$library" ]; then
        echo "fix-rtsp.sh: there is no $source/$library: is this a DeepStream 9.1 image?" >&2
        exit 1
    fi
    install -m 644 "$source/$library" "$target/$library"
done
rm -rf ~/.cache/gstreamer-1.0  # its list of plugins is of the old ones
