#!/usr/bin/env bash
# Install the system packages of an image: scripts/docker/install-system.sh cpu|gpu|build|verify [--print]
# --print only lists them.
set -euo pipefail
case $1 in
    cpu) packages=(libgl1 libglib2.0-0 tini) ;;
    gpu) packages=(libgl1 libglib2.0-0 tini python3-venv libmosquitto1) ;;
    build) packages=(g++ cmake make python3-dev python3-venv) ;;
    # The kernel benchmark's torch.compile has Triton compile a module against Python's headers.
    verify) packages=(g++ python3-dev) ;;
    *) echo "install-system.sh: '$1' is unknown; use cpu, gpu, build or verify" >&2; exit 2 ;;
esac
if [ "${2:-}" = --print ]; then
    printf '%s\n' "${packages[@]}"
    exit 0
fi
apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
rm -rf /var/lib/apt/lists/*
