#!/bin/sh
# Make the virtual environment .venv with the pinned requirements; say clearly what is missing where it can't.
set -eu
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}

fail() {
    echo "setup: $*" >&2
    exit 1
}

command -v "$PYTHON" >/dev/null || fail "no $PYTHON here; install Python 3.11 or newer, or say PYTHON=/path/to/python make run"
"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$PYTHON" --version) is too old; Python 3.11 or newer is needed: PYTHON=/path/to/python make run"
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$PYTHON has no venv module; on Debian and Ubuntu: apt install python3-venv"

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
    "$PYTHON" -m venv --clear .venv || fail "could not make .venv here; is the disk full, or the folder read-only?"
fi
# Wheels only, so that no compiler is needed; the one package that has none is pure Python.
.venv/bin/pip install --quiet --disable-pip-version-check --only-binary :all: --no-binary connection_pool \
    --requirement envs/requirements.txt --constraint envs/lock.txt || fail "pip could not install envs/requirements.txt (see above); it needs PyPI or a mirror (pip config set global.index-url ...) and about 2 GB of disk"
touch .venv/complete
