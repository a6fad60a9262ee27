#!/usr/bin/env bash
# Makes .venv in the project's root with the pinned packages; a second call finds it up to date.
# Needs Python 3.10 to 3.14 with venv and pip; no compiler and no system package.
#
#   BTP_PYTHON=python3.13   the interpreter to use (otherwise the first that fits)
#   BTP_TORCH_INDEX=URL     a further index to look for torch in. On a Linux machine without an NVIDIA
#                           GPU, PyTorch's index of CPU wheels (its install page names it) saves 3 GB.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=.venv
STAMP=$VENV/btp-setup-stamp
step="starting"
trap 'echo "setup.sh: FAILED while $step (see above)" >&2' ERR

fail() {
    echo "setup.sh: $1" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in ${BTP_PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python3.10 python}; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.10 to 3.14 among: ${BTP_PYTHON:-python3, python3.10 to 3.14}. Install one, or name it with BTP_PYTHON."
}

wanted=$(cat pyproject.toml constraints.txt scripts/setup.sh | cksum)
if [ -x $VENV/bin/python ] && [ "$(cat $STAMP 2>/dev/null)" = "$wanted" ]; then
    echo "setup.sh: $VENV is up to date"
    exit 0
fi

step="looking for Python"
python=$(find_python)
if ! $VENV/bin/python -m pip --version &>/dev/null; then
    step="making $VENV"
    echo "setup.sh: making $VENV with $("$python" --version)"
    "$python" -c 'import ensurepip, venv' &>/dev/null ||
        fail "$python cannot make virtual environments (its venv or ensurepip is missing; on Debian and Ubuntu: apt install python3-venv)."
    "$python" -m venv --clear $VENV
fi

step="installing the packages of constraints.txt"
echo "setup.sh: installing the pinned packages into $VENV (a few minutes)"
$VENV/bin/pip install -qq --upgrade --constraint constraints.txt pip
rm -rf btp.egg-info # of an older set-up: Python would read an old version from it
index=${BTP_TORCH_INDEX:-}
[ -z "$index" ] || echo "setup.sh: looking for torch at $index too"
# Wheels only, so that nothing is compiled; antlr4 (of hydra) has none and is plain Python.
$VENV/bin/pip install -qq --constraint constraints.txt ${index:+--extra-index-url "$index"} \
    --only-binary=:all: --no-binary=antlr4-python3-runtime --editable ".[dev]"

step="importing what was installed"
$VENV/bin/python -c 'import btp, torch; print("setup.sh: ready, btp", btp.__version__, "torch", torch.__version__)'
echo "$wanted" >$STAMP
