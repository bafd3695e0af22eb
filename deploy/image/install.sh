#!/usr/bin/env bash
# Builds the wheel of a source tree and installs it, with nothing of the tree, into a fresh environment. The Dockerfile runs
# this, and so does tests/deploy/test_wheel.py.
#
#   install.sh SOURCE TARGET [EXTRAS]     EXTRAS: for example local, for the ClickHouse engine inside Headwater
#   PYTHON (default python3) is the interpreter that the environment will use; HEADWATER_COMPILE=1 compiles the hot modules
#   for it (needs a C compiler). Needs uv.
set -euo pipefail

source=$1 target=$2 extras=${3:-}
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT

uv build --wheel --python "${PYTHON:-python3}" --out-dir "$wheels" "$source"
wheel=$(ls "$wheels"/headwater-*.whl)
uv venv --quiet --python "${PYTHON:-python3}" "$target"
uv pip install --quiet --compile-bytecode --python "$target/bin/python" "headwater${extras:+[$extras]} @ file://$wheel"
