"""Which records may stand in one mean, and which baselines beside them: never other settings."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from btp.experiments.baselines import BASELINES
from btp.experiments.record import RunRecord
from btp.recipe import Recipe

# Records are averaged only if they agree in all of these.
SETTINGS = (
    "recipe",
    "n_points",
    "sampling_seed",
    "encoder_fingerprint",
    "text_fingerprint",
    "heads_digest",
    "bfloat16",
    "thresholds",
    "scans",
)
# Those of them that a baseline must share with the runs that it stands beside.
BASELINE_SETTINGS = ("recipe", "encoder_fingerprint", "text_fingerprint", "thresholds", "scans")


def full_recipe(runs: Sequence[RunRecord]) -> Recipe:
    """Return the full recipe of runs that are its variants."""
    recipe = min(runs, key=lambda run: run.variant != "full").recipe
    assert recipe is not None, "runs have one"
    return recipe


def by_recipe(runs: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """Sort runs by their recipe's name, variants and numbers of points together."""
    groups: dict[str, list[RunRecord]] = defaultdict(list)
    for run in runs:
        sampling = f",sampling_seed={run.sampling_seed}" if run.sampling_seed else ""
        groups[run.recipe_name + sampling].append(run)
    return dict(sorted(groups.items()))


def agreeing(runs: Iterable[RunRecord]) -> tuple[list[RunRecord], list[str]]:
    """Refuse to average what was made with different settings.

    Of the runs of one variant and number of points, those with the most frequent settings are kept.

    Returns:
        The runs to use, and a remark on each that is left out.
    """
    used, left_out = [], []
    for group in by_variant(runs).values():
        common = json.loads(Counter(map(_as_text, group)).most_common(1)[0][0])
        for run in group:
            differences = _differences(_settings(run), common)
            if differences:
                left_out.append(
                    f"{run.folder}: {differences} as in the other runs of this name; never in one "
                    "mean with them"
                )
            else:
                used.append(run)
    return used, left_out


def by_variant(runs: Iterable[RunRecord]) -> dict[tuple[str, int], list[RunRecord]]:
    """Sort runs by variant and number of points."""
    groups: dict[tuple[str, int], list[RunRecord]] = defaultdict(list)
    for run in runs:
        groups[run.variant, run.n_points].append(run)
    return groups


def _settings(record: RunRecord) -> dict[str, Any]:
    """The settings that must agree, as JSON has them."""
    values = record.as_dict()
    return dict(json.loads(json.dumps({name: values[name] for name in SETTINGS})))


def _as_text(record: RunRecord) -> str:
    return json.dumps(_settings(record), sort_keys=True)


def _differences(found: dict[str, Any], common: dict[str, Any]) -> str:
    """How a record's settings differ from the common ones; "" where they agree."""
    parts = []
    for name, theirs in common.items():
        ours = found[name]
        if ours == theirs:
            continue
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key in sorted(ours.keys() | theirs.keys()):
                if ours.get(key) != theirs.get(key):
                    parts.append(f"{name}.{key} is {ours.get(key)}, not {theirs.get(key)}")
        else:
            parts.append(f"{name} is {ours}, not {theirs}")
    return "; ".join(parts)


def baselines_beside(
    runs: Sequence[RunRecord],
    baselines: Sequence[RunRecord],
    seeds: Sequence[int],
    n_points: int,
) -> tuple[dict[str, list[RunRecord]], list[str]]:
    """Choose the baselines that stand beside a recipe's runs, and remark on those that cannot.

    A trained baseline has the seeds of the runs, any other the first of its own.
    """
    recipe = full_recipe(runs)
    run = next((run for run in runs if run.n_points == n_points), runs[0])
    common = {name: _settings(run)[name] for name in BASELINE_SETTINGS}
    common["recipe"] = json.loads(json.dumps(recipe.flat()))
    beside: dict[str, list[RunRecord]] = defaultdict(list)
    left_out = []
    for record in sorted(baselines, key=lambda record: record.seed):
        name = record.baseline or ""
        of_recipe = record.recipe is None or record.recipe.name == recipe.name
        sampling = record.n_points, record.sampling_seed
        if not of_recipe or sampling != (n_points, run.sampling_seed):
            continue  # of another section
        compared = dict(common)
        if record.recipe is None:  # memories follow no recipe and read no text
            del compared["recipe"], compared["text_fingerprint"]
        elif "unknown" in (run.text_fingerprint, record.text_fingerprint):
            del compared["text_fingerprint"]
        differences = _differences(_settings(record), compared)
        if differences:
            left_out.append(f"{record.folder}: {differences} as in the runs; not beside them")
        elif not BASELINES[name].needs_training:
            beside[name] = beside[name] or [record]
        elif record.seed in seeds:
            beside[name].append(record)
    return dict(beside), left_out
