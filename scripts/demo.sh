#!/usr/bin/env bash
# Sets up .venv, then runs the main job on the demo set, which it makes: prepare, train on one
# category (BTP_DEMO_CATEGORY, gear by default), evaluate on all others.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
train_cat=${BTP_DEMO_CATEGORY:-gear}
trap 'echo "demo.sh: FAILED while $step (see above)" >&2' ERR

run() {
    step=$1
    shift
    printf '\ndemo.sh: %s\n    python %s\n' "$step" "$*"
    .venv/bin/python "$@"
}

step="setting up (scripts/setup.sh)"
bash scripts/setup.sh
run "preparing the demo set" scripts/prepare.py dataset=demo
run "training on $train_cat" scripts/train.py dataset=demo recipe=plus train_cat="$train_cat"
run "evaluating on the other categories" scripts/eval.py dataset=demo

printf '\ndemo.sh: done in %d s\n' $SECONDS
for path in data/demo outputs checkpoints; do
    if [ -e $path ]; then echo "    $PWD/$path"; fi
done
