"""Train on one category: `python scripts/train.py dataset=real3d train_cat=gemstone`."""

from __future__ import annotations

import time

from _session import command, dataset_from, model_from, plain, script, store_from
from omegaconf import DictConfig

from btp.config import build
from btp.recipe import Recipe
from btp.runs import Run
from btp.training import train


@script("train")
def main(config: DictConfig) -> None:
    started = time.monotonic()
    recipe = build(Recipe, plain(config.recipe), "recipe")
    dataset = dataset_from(config)
    model = model_from(config)
    run = Run.at(
        config.outputs, dataset.name, model.config.name, recipe.name, config.train_cat, config.seed
    )
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
        config.seed,
        run.folder,
        metadata={
            "dataset": plain(config.dataset),
            "train_cat": config.train_cat,
            "seed": config.seed,
            "n_points": config.n_points,
            "sampling_seed": config.sampling_seed,
            "encoder_fingerprint": model.fingerprint,
            "encoder_trained": model.trained,
            "command": command(),
        },
        resume=config.resume,
        bfloat16=config.bfloat16,
    )
    print(f"{run.detector_path} ({len(data)} scans, {time.monotonic() - started:.0f} s)")
    print(f"next: python scripts/eval.py dataset={dataset.name} encoder={model.config.name}")


if __name__ == "__main__":
    main()
