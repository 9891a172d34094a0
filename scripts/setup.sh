#!/usr/bin/env bash
# Make the virtual environment of the Makefile.
#   scripts/setup.sh VENV run   what `gaitstream demo` and `gaitstream run` need
#   scripts/setup.sh VENV dev   that, and what the tests, the exporter and the checks need
# On Debian as root, missing system packages are installed; otherwise the command to do so is printed.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
profile=$2
python=${PYTHON:-python3}

fail() { echo "setup: $*" >&2; exit 1; }

packages() { # packages WHY NAME...: install Debian packages, or say how to
    local why=$1; shift
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "setup: installing $* ($why)"
        apt-get update -qq >/dev/null
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
    else
        echo "setup: $why; run: sudo apt-get install $*" >&2
        return 1
    fi
}

command -v "$python" >/dev/null || packages "Python is missing" python3 python3-venv
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; Python 3.11 or newer is needed (make PYTHON=python3.12)"
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    packages "this Python has no venv module" python3-venv
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
echo "setup: installing into $venv; this is done once"
pip=("$venv/bin/python" -m pip --quiet --disable-pip-version-check install --no-compile)
"${pip[@]}" --constraint constraints.txt pip
if [ "$profile" = dev ]; then
    # torch on its own first: asked for by exact version, so that no other build of it is chosen later.
    "${pip[@]}" "$(grep '^torch==' constraints.txt)"
    "${pip[@]}" --constraint constraints.txt --editable '.[export,int8,rtx,bench]' \
        --editable weights --editable tests/stranger --group lint --group test
else
    "${pip[@]}" --constraint constraints.txt --editable . --editable weights
fi
# OpenCV's wheel links against libGL and GLib, which a bare Debian does not have.
"$venv/bin/python" -c 'import cv2' 2>/dev/null ||
    packages "OpenCV needs system libraries" libgl1 libglib2.0-0 || fail "OpenCV cannot be imported"
command -v g++ >/dev/null || packages "a checkout compiles its CPU kernels at first use" g++ ||
    echo "setup: without g++ alignment and crops run on numpy, far slower" >&2
if [ "$profile" = dev ]; then
    command -v strace >/dev/null || packages "the tests watch which addresses are contacted" strace ||
        echo "setup: without strace those tests are skipped" >&2
    command -v systemd-analyze >/dev/null || packages "the tests check the unit file" systemd ||
        echo "setup: without systemd-analyze that test is skipped" >&2
    (PATH=$PATH:/usr/sbin; command -v nft && command -v ip) >/dev/null ||
        packages "the tests try the firewall rules for Ray" nftables iproute2 ||
        echo "setup: without them that test is skipped" >&2
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 ||
        packages "the tests of the shared gallery and of the fleet start a real server" postgresql ||
        echo "setup: without it those tests are skipped" >&2
    /usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")' 2>/dev/null ||
        packages "the tests of the RTSP source start a real server" python3-gi \
            gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good \
            gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly ||
        echo "setup: without it those tests are skipped" >&2
    [ -x /usr/sbin/mosquitto ] || packages "the MQTT sink is tested against a real broker" mosquitto ||
        echo "setup: without mosquitto its tests are skipped" >&2
    command -v npm >/dev/null || packages "the subscriber in JavaScript runs in the tests" nodejs npm ||
        echo "setup: without Node.js its test is skipped" >&2
    [ -x "$venv/bin/helm" ] || scripts/install-helm.sh "$venv" ||
        echo "setup: without Helm the chart's tests are skipped" >&2
    command -v chromium >/dev/null || packages "the console's pages are tested in a real browser" chromium ||
        echo "setup: without chromium those tests are skipped" >&2
    [ -f /usr/include/zmq.hpp ] || packages "the subscriber in C++ is compiled in the tests" cppzmq-dev ||
        echo "setup: without cppzmq-dev its test is skipped" >&2
fi
# Programs then start a quarter faster, also where Python is told to write no bytecode by itself.
# By all cores, which pip does not; some packages bring templates that are no Python.
libraries=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$venv/bin/python" -m compileall -q -j 0 "$libraries" >/dev/null 2>&1 || true
"$venv/bin/python" -m compileall -q gaitstream weights tests/stranger
touch "$venv/.$profile"
