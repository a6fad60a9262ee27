"""What a reader must know of a table's numbers: how they deviate from the paper, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from btp.experiments.record import RunRecord
from btp.recipe import Recipe
from btp.report import paper

# Switch -> number in the list of differences between paper and release (README).
DEVIATIONS = {
    "prompts": "D1",
    "prompt_texts": "D1",
    "context_tokens": "D2",
    "object_score": "D3",
    "patch_temperature": "D5",
    "uncovered": "D6",
    "gfcm_input": "D7",
    "fpfh_cloud": "D8",
    "projection": "D9",
    "geo_temperature": "D10",
    "batch_size": "D11",
    "shuffle": "D11",
    "drop_last": "D11",
    "keep": "D12",
    "train_split": "D13",
    "patch_similarity": "D14",
    "gfcm_output": "D15",
    "geo_projection": "D16",
    "fusion": "D17",
    "object_alpha": "D18",
}
# What a variant of Table 4 changes is its meaning, not a deviation.
_OF_VARIANT = {"name", "variant", "use_taps", "use_geometry", "loss"}
HEADERS = (
    "The paper's Table 1 has the headers car and candybar exchanged. It is verified for two of its "
    "point AUROC lines: BTP's (by Table 2, the mean of its rows car, chicken, gemstone) and CPMF's "
    "(by the benchmark's own table). Its columns are named so here in all lines; for the others "
    "nothing was found to check it against."
)
FISH = (
    "fish: the paper's Table 1 prints 90.3 point AUROC for BTP; its Table 2 makes it 86.9. All "
    "other categories agree."
)
P_PRO = (
    "D4: what the paper prints as P-PRO for BTP is a coverage AUC (chance: 50), and stands in that "
    "column; AU-PRO is the standard one, up to a false-positive rate of 0.3 (chance: 15)."
)
OTHERS_PRO = (
    "The P-PRO of other methods is quoted as printed, in a column of its own; by its level it is "
    "rather the standard AU-PRO."
)
BEST = (
    "Bold: the highest figure of a column, to the digit printed, among the lines that are "
    "zero-shot; those that need normal scans of the tested category do not compete."
)
PLUS_MINUS = (
    "The paper names its figures averages over ten runs with different seeds; but the deviation of "
    "its Table 2's means for car, chicken and gemstone is 2.1, near the ± 2.0 that its Table 3 "
    "prints for point AUROC on Real3D-AD. So both are given here, each with n - 1."
)
UPDATE = (
    "The authors' update of May 2026 scores objects by the mean of the highest 20 % of patches "
    "(D3), as recipe=release does; the paper's line has the highest patch alone."
)
BASELINE_SEEDS = (
    "Baselines that are trained have the same seeds as ours; the memories only choose their "
    "coreset by chance, and have one."
)
QUOTED = "Lines marked as quoted are copied from the paper or from their own papers, not run here."
RESOLUTION = "Points are those sampled from each scan; the table of every metric has raw scans too."


def of_recipe(recipe: Recipe) -> list[str]:
    """Write one note for each switch that differs from the paper's, the optimiser's included."""
    ours, theirs = recipe.flat(), Recipe().flat()
    switches: dict[str, list[str]] = {}
    for name, value in ours.items():
        if name not in _OF_VARIANT and value != theirs[name]:
            number = DEVIATIONS.get(name, "Recipe")
            switches.setdefault(number, []).append(
                f"{name} is {_shown(value)}, not {_shown(theirs[name])}"
            )
    order = sorted(switches, key=lambda number: (number == "Recipe", len(number), number))
    notes = [f"{number}: {'; '.join(switches[number])}." for number in order]
    if recipe.variant == "full" and recipe.loss != Recipe().loss:
        notes.append(f"Recipe: weights of the losses are {asdict(recipe.loss)}.")
    return notes


def of_protocol(train_cats: Sequence[str], seeds: Sequence[int]) -> str:
    """Say how a number of Tables 1 and 3-5 is averaged."""
    return (
        f"Trained on each of {', '.join(train_cats)}, tested on all other categories; a category's "
        f"mean is over the training categories other than itself, then over {of_seeds(seeds)}."
    )


def of_seeds(seeds: Sequence[int]) -> str:
    """Name the seeds, and say what ± means."""
    if len(seeds) == 1:
        return f"one seed, {seeds[0]}"
    return f"seeds {', '.join(map(str, seeds))} (± standard deviation over them, n - 1)"


def of_records(records: Sequence[RunRecord], dataset: str) -> list[str]:
    """Say what limits the worth of the results: encoder, precision, an incomplete data set."""
    notes = []
    encoders = {record.encoder for record in records}
    if any(not record.encoder_trained for record in records):
        notes.append("The encoder is untrained: the numbers only show that everything runs.")
    elif encoders - {"ulip2"} and dataset in paper.DATASETS:
        notes.append(f"The encoder is {', '.join(sorted(encoders))}; the paper's is ULIP-2.")
    if any(record.bfloat16 for record in records):
        notes.append("D20: the heads were trained in 16 bit, not in float32.")
    problems = {record.test_problems for record in records} - {""}
    notes += [f"The data set is not complete: {text}." for text in sorted(problems)]
    return notes


def of_gaps(found: int, missing: Sequence[str]) -> list[str]:
    """Name the runs that a table lacks; no note for a complete one."""
    if not missing:
        return []
    shown = ", ".join(missing[:6]) + (f" and {len(missing) - 6} more" if len(missing) > 6 else "")
    return [f"INCOMPLETE: {found} of {found + len(missing)} runs; missing: {shown}."]


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple | list) else str(value).lower()
