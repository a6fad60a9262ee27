"""Train on one category: `python scripts/train.py dataset=real3d train_cat=gemstone`."""

from __future__ import annotations

import re
import time
from dataclasses import replace

from _session import (
    command,
    dataset_from,
    model_from,
    overrides,
    plain,
    same_data,
    script,
    store_from,
    whole,
)
from omegaconf import DictConfig

from btp.config import build
from btp.errors import ConfigError
from btp.recipe import Recipe
from btp.runs import Run
from btp.training import train


@script("train")
def main(config: DictConfig) -> None:
    started = time.monotonic()
    recipe = build(Recipe, plain(config.recipe), "recipe")
    recipe = replace(recipe, name=_name(recipe.name))
    seed = whole(config, "seed")
    dataset = dataset_from(config)
    model = model_from(config)
    names = dataset.name, model.config.name, recipe.name, config.train_cat
    run = Run.at(config.outputs, *names, seed)
    if config.resume and run.detector_path.is_file():
        print(f"{run.detector_path}: already finished; train it again with resume=false")
        return
    data = store_from(config, model).load(
        dataset,
        config.train_cat,
        recipe.train_split,
        surface=recipe.gfcm_input == "surface",
        fpfh_cloud=recipe.fpfh_cloud if recipe.use_geometry and recipe.loss.geometry else None,
    )
    train(
        data,
        model,
        recipe,
        seed,
        run.folder,
        metadata={
            "dataset": plain(config.dataset),
            "train_cat": config.train_cat,
            "seed": seed,
            "n_points": config.n_points,
            "sampling_seed": config.sampling_seed,
            "encoder_fingerprint": model.fingerprint,
            "encoder_trained": model.trained,
            "command": command(),
        },
        resume=config.resume,
        bfloat16=_bfloat16(config, model.device.type),
    )
    untrained = "" if model.trained else ", encoder: untrained"
    seconds = time.monotonic() - started
    print(f"{run.detector_path} ({len(data)} scans, {seconds:.0f} s{untrained})")
    print(f"next: python scripts/eval.py {same_data()}")


def _bfloat16(config: DictConfig, device: str) -> bool:
    if config.bfloat16 == "auto":
        return device == "cuda"
    if not isinstance(config.bfloat16, bool):
        raise ConfigError(f"bfloat16 is {config.bfloat16!r}; expected auto, true or false")
    return config.bfloat16


def _name(recipe: str) -> str:
    """The recipe's name, with every changed setting behind it: another recipe, another run."""
    changed = [
        override.removeprefix("recipe.")
        for override in overrides()
        if override.startswith(("recipe.", "+recipe.", "n_points", "sampling_seed", "bfloat16"))
    ]
    named = any(setting.startswith("name=") for setting in changed)
    return recipe if named else re.sub(r"[^\w.,=+-]", "_", ",".join([recipe, *changed]))


if __name__ == "__main__":
    main()
