"""The methods that BTP is compared with, and which of them the tables need: data alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from btp.errors import ConfigError
from btp.experiments.memory_options import USUAL, MemoryOptions
from btp.experiments.protocol import Plan, train_categories
from btp.experiments.runs import BASELINES_FOLDER, Run


@dataclass(frozen=True)
class Baseline:
    """What a table says of a method.

    Attributes:
        name: key in `BASELINES`, for commands and files.
        title: as tables print it.
        sees_normal_scans: compares with normal training scans of the tested category, so it is
            not zero-shot.
        needs_training: is trained on one annotated category, which it is then not tested on.
        reads_fpfh: describes points by FPFH, whose radii may be given.
        registers: may register scans before it describes them.
        note: footnote of its line in a table: how it differs from what the name may suggest;
            "{radii}" stands for how FPFH's radii were chosen, and "{registration}" for whether
            scans were registered.
    """

    name: str
    title: str
    sees_normal_scans: bool = False
    needs_training: bool = False
    reads_fpfh: bool = False
    registers: bool = False
    note: str = ""

    def options(self, given: MemoryOptions) -> MemoryOptions:
        """Return those of the given options that it depends on; the others are the usual ones."""
        return MemoryOptions(
            given.fpfh_radii if self.reads_fpfh else None,
            given.registration if self.registers else "none",
        )

    def footnote(self, options: MemoryOptions) -> str:
        """Return the footnote of its line in a table."""
        radii = "FPFH's radii follow each scan's point spacing instead of being millimetres"
        if options.fpfh_radii is not None:
            radii = "FPFH's radii are {:g} (normals) and {:g} in the scans' units".format(
                *options.fpfh_radii
            )
        return self.note.format(radii=radii, registration=_REGISTRATION[options.registration])


_OURS = "ours, not the Real3D-AD benchmark's"
_POINTS = "points are those sampled from each scan, and {radii}"
_REGISTRATION = {
    "none": "unlike there no scan is registered,",
    "open3d": "every scan is registered to the category's first normal one (Open3D: FPFH, RANSAC, "
    "ICP), but",
}
BASELINES = {
    baseline.name: baseline
    for baseline in (
        Baseline(
            "ulip_zero_shot",
            "ULIP (zero-shot)",
            note='ULIP (zero-shot): Eq. 1 with the prompts "a point cloud model of a normal '
            'object." and "a point cloud model of a defective object."; scores objects only.',
        ),
        Baseline(
            "ulip_linear",
            "ULIP (linear)",
            needs_training=True,
            note="ULIP (linear): one linear layer and a layer norm on the encoder's last tap, "
            "normalised, against the recipe's fixed prompts at Eq. 1's temperature (Fig. 3).",
        ),
        Baseline(
            "btf",
            "BTF (FPFH)",
            sees_normal_scans=True,
            reads_fpfh=True,
            note=f"BTF (FPFH): {_OURS}: as there an object's score is reweighted by the neighbours "
            f"without the nearest, but {_POINTS}.",
        ),
        Baseline(
            "patchcore_fpfh",
            "PatchCore (FPFH)",
            sees_normal_scans=True,
            reads_fpfh=True,
            registers=True,
            note=f"PatchCore (FPFH): {_OURS}: as there at most 10,000 points are kept, and an "
            f"object's score is the maximum; {{registration}} {_POINTS}.",
        ),
        Baseline(
            "patchcore_encoder",
            "PatchCore (encoder)",
            sees_normal_scans=True,
            note="PatchCore (encoder): ours, of no benchmark: the encoder's taps of patches, a "
            "quarter of them kept, and object scores by PatchCore's Eq. 7.",
        ),
    )
}


@dataclass(frozen=True)
class BaselinePlan:
    """One baseline that a table needs, whether or not it was scored.

    Attributes:
        name: in `BASELINES`.
        settings: dataset, recipe and seed; its train category counts if the baseline is trained.
        options: of a memory, as far as it depends on them.

    Raises:
        ConfigError: an unknown name, or no train category where one is needed.
    """

    name: str
    settings: Plan
    options: MemoryOptions = USUAL

    def __post_init__(self) -> None:
        if self.name not in BASELINES:
            known = ", ".join(BASELINES)
            raise ConfigError(f"baseline {self.name!r} is not known; expected one of {known}")
        if self.baseline.needs_training and not self.settings.train_cat:
            raise ConfigError(
                f"{self.baseline.title} learns from the annotated scans of one category, and none "
                "was given; name it as train_cat"
            )

    @property
    def baseline(self) -> Baseline:
        """What tables say of it."""
        return BASELINES[self.name]

    @property
    def train_cat(self) -> str | None:
        """Category that it is trained on; None if it is not trained."""
        return self.settings.train_cat if self.baseline.needs_training else None

    def run(self, outputs: str | Path, encoder: str) -> Run:
        """Return the folder of its record, whether or not it exists yet."""
        plan = replace(self.settings, bfloat16=None)
        if self.baseline.sees_normal_scans:  # these know of no recipe
            plan = replace(plan, recipe=replace(plan.recipe, name="any", variant="full"))
        label = plan.label + self.options.label
        folder = Path(outputs, plan.dataset, encoder, BASELINES_FOLDER, self.name, label)
        return Run(folder / (self.train_cat or "untrained") / f"seed{plan.seed}")


def plan_baselines(
    tables: Sequence[str],
    base: Plan,
    categories: Sequence[str],
    seeds: Sequence[int],
    options: MemoryOptions = USUAL,
) -> list[BaselinePlan]:
    """List the baselines that tables need: those that are trained on each training category.

    Memories depend on the seed by their coreset only, and zero-shot not at all: one seed each.
    """
    names: list[str] = []
    if "4" in tables:
        names = ["ulip_zero_shot"]
    if "1" in tables or "3" in tables:
        names = list(BASELINES)
    plans = []
    for name in names:
        chosen = [("", seeds[0])]
        if BASELINES[name].needs_training:
            some = train_categories(base.dataset, categories)
            chosen = [(category, seed) for seed in seeds for category in some]
        own = BASELINES[name].options(options)
        plans += [BaselinePlan(name, replace(base, train_cat=c, seed=s), own) for c, s in chosen]
    return plans
