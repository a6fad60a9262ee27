"""The record of a scored run or baseline: what was measured, and all that it depends on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import btp
from btp.config import build
from btp.errors import ConfigError, DataError
from btp.evaluation.scoring import mean_over_categories
from btp.geometry.registration import Registration
from btp.recipe import Recipe
from btp.runtime.files import write_text
from btp.types import N_POINTS

_NOT_WHOLE = "not a whole result; remove it, or score again with rescore=true"


@dataclass(frozen=True)
class RunRecord:
    """What is kept of a scored run or baseline.

    The same command gives the same record on the same kind of machine: no time is part of it.

    Attributes:
        folder: of the run, as it is printed; not in the file.
        baseline: name in `btp.experiments.baselines.BASELINES`; None for a run of BTP.
        train_dataset: name of the dataset trained on; None where nothing was trained.
        train_cat: the category trained on, which is not scored; None where nothing was trained.
        seed: of the training, or of a baseline's random choices.
        recipe: that was trained and scored with; None for a baseline that follows none.
        n_points, sampling_seed: how each scan was sampled.
        encoder: name of the point-language model.
        encoder_fingerprint, text_fingerprint: of its weights.
        encoder_trained: False where the encoder is random.
        heads_digest: of the file of heads that the training started from, "" for new heads.
        bfloat16: whether the heads were trained in 16 bit.
        detector: digest of the detector's file; None for a baseline.
        epoch, loss: of the kept weights; None where they are unknown.
        command: the command line that makes the run; "" where it is unknown.
        test_dataset: name of the scored dataset.
        test_problems: what that dataset lacks on disk, "" for nothing.
        scans: fingerprint of the scored scans.
        thresholds: of AU-PRO, None for exact.
        categories: scored category -> metric (`btp.evaluation.scoring.METRICS`) -> value.
        repeated: category -> number of scans too small to be sampled without repetition.
        btp, torch: versions.
        device: that scored.
        fpfh_radii: of a baseline that reads FPFH, in the scans' units; None for multiples of each
            scan's point spacing.
        registration: whether a baseline registered the scans to a normal one, and by what.
    """

    folder: str
    baseline: str | None
    train_dataset: str | None
    train_cat: str | None
    seed: int
    recipe: Recipe | None
    n_points: int
    sampling_seed: int
    encoder: str
    encoder_fingerprint: str
    text_fingerprint: str
    encoder_trained: bool
    heads_digest: str
    bfloat16: bool
    detector: str | None
    epoch: int | None
    loss: float | None
    command: str
    test_dataset: str
    test_problems: str
    scans: str
    thresholds: int | None
    categories: Mapping[str, Mapping[str, float]]
    repeated: Mapping[str, int]
    btp: str
    torch: str
    device: str
    fpfh_radii: tuple[float, float] | None = None
    registration: Registration = "none"

    @property
    def variant(self) -> str:
        """Row of Table 4 that the run belongs to."""
        return "full" if self.recipe is None else self.recipe.variant

    @property
    def recipe_name(self) -> str:
        """Name of the recipe; "any" where none is followed."""
        return "any" if self.recipe is None else self.recipe.name

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each metric over the scored categories that define it."""
        means = mean_over_categories([dict(row) for row in self.categories.values()])
        return {metric: value for metric, (value, _) in means.items()}

    @property
    def title(self) -> str:
        """Dataset, encoder, recipe and unusual settings, for headings."""
        untrained = "" if self.encoder_trained else " (encoder: untrained)"
        points = "" if self.n_points == N_POINTS else f", {self.n_points} points"
        thresholds = f", {self.thresholds} thresholds" if self.thresholds else ""
        variant = "" if self.variant == "full" else f", variant {self.variant}"
        where = f"{self.test_dataset}, {self.encoder}{untrained}"
        return f"{where}, recipe {self.recipe_name}{variant}{points}{thresholds}"

    def as_dict(self) -> dict[str, Any]:
        """Return what the file holds: every field but the folder, and the mean over categories."""
        fields = asdict(self)
        del fields["folder"]
        recipe = None if self.recipe is None else self.recipe.flat()
        return fields | {"recipe": recipe, "mean": self.mean}


def write_record(path: Path, record: RunRecord) -> None:
    """Write a record as one line of JSON, whole or not at all."""
    write_text(path, json.dumps(record.as_dict()) + "\n")


def read_record(path: Path) -> RunRecord:
    """Read a record that `write_record` wrote.

    Raises:
        DataError: if the file is damaged, or was written by another version of this project.
    """
    try:
        found = json.loads(path.read_text())  # Python's JSON writes and reads NaN
    except (ValueError, OSError) as error:
        raise DataError(
            f"{path}: not a result ({error}); remove it, or score again with rescore=true"
        ) from error
    if not isinstance(found, dict) or not isinstance(found.get("categories"), dict):
        raise DataError(f"{path}: {_NOT_WHOLE}")
    if found.get("btp") != btp.__version__:
        raise DataError(
            f"{path}: measured by version {found.get('btp')}, and this is {btp.__version__}; score "
            "again with rescore=true"
        )
    found.pop("mean", None)
    recipe = found.pop("recipe", None)
    try:
        if recipe is not None:
            recipe = Recipe.from_file(recipe, "recipe")
        return build(RunRecord, found | {"folder": str(path.parent), "recipe": recipe}, "result")
    except (ConfigError, TypeError) as error:  # TypeError: a field is missing
        raise DataError(f"{path}: {_NOT_WHOLE} ({error})") from error
