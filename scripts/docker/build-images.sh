#!/usr/bin/env bash
# Build the container images: scripts/docker/build-images.sh [cpu|gpu|verify ...]
set -euo pipefail
cd "$(dirname "$0")/../.."
engine=${CONTAINER_ENGINE:-$(command -v docker || command -v podman || true)}
if [ -z "$engine" ]; then
    echo "build-images.sh: no docker and no podman found; install one, or set CONTAINER_ENGINE" >&2
    exit 3
fi
for flavour in "${@:-cpu gpu}"; do
    for target in $flavour; do
        "$engine" build --target "$target" --tag "gaitstream:$target" .
    done
done
