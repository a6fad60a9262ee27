"""What each switch of a recipe gains on train categories: `btp gains`."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf

from btp.commands.settings import plain, script, whole
from btp.commands.workspace import workspace_from
from btp.errors import ConfigError
from btp.experiments.gains import Gain, gains
from btp.features.store import load_annotated
from btp.recipe import Recipe

SHOWN = {"point_auroc": "P-AUROC", "object_auroc": "O-AUROC", "raw_aupro": "AU-PRO raw"}


@script("gains")
def main(config: DictConfig) -> None:
    base = Recipe.from_flat(plain(config.recipe))
    recipes = {base.name: base}
    for alternative in config.alternatives:
        settings = re.split(r" (?=\w[\w.]*=)", alternative)
        if not all(re.fullmatch(r"[\w.]+=.+", setting) for setting in settings):
            raise ConfigError(f"alternatives: found {alternative!r}; expected switch=value")
        changed = OmegaConf.merge(config.recipe, OmegaConf.from_dotlist(settings))
        recipe = Recipe.from_flat(plain(changed), alternative)  # type: ignore[arg-type]
        if recipe != base:
            recipes[alternative] = recipe
    workspace = workspace_from(config, trains=True)
    dataset, model = workspace.dataset, workspace.model
    store = workspace.store(whole(config, "n_points"), whole(config, "sampling_seed"))
    categories = config.categories or dataset.categories
    if config.across and len(categories) < 2:
        raise ConfigError(
            f"across=true trains on one category and measures on others; found only "
            f"{', '.join(categories)}"
        )
    load = functools.partial(load_annotated, store, dataset)
    found = gains(categories, load, model, recipes, list(config.seeds), config.across)
    how = "across" if config.across else "halves of"
    print(table(found, f"{dataset.name}, {model.config.name}, {how} {len(categories)} categories"))


def table(found: Sequence[Gain], title: str) -> str:
    """Figures and gains in percent, as Markdown."""
    lines = [f"| {title} |" + "".join(f" {name} |" for name in SHOWN.values())]
    lines.append("|---|" + "--:|" * len(SHOWN))
    for number, gain in enumerate(found):
        cells = [f" {100 * gain.figures[m]:.1f}" for m in SHOWN]
        if number:
            cells = [
                f"{cell} ({100 * gain.gains[m]:+.1f} ± {100 * gain.errors[m]:.1f})"
                for cell, m in zip(cells, SHOWN, strict=True)
            ]
        lines.append(f"| {gain.name} |" + " |".join(cells) + " |")
    return "\n".join(lines)
