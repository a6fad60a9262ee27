#!/usr/bin/env bash
# Sets up .venv, then runs the tests. Arguments go to pytest: bash scripts/test.sh tests/test_fpfh.py
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
trap 'echo "test.sh: FAILED while $step (see above)" >&2' ERR

step="setting up (scripts/setup.sh)"
bash scripts/setup.sh

step="running the tests"
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} # the tests run side by side
echo "test.sh: pytest -n auto $*"
.venv/bin/python -m pytest -n auto "$@"
