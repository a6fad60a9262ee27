"""Train on one category: `python scripts/train.py dataset=real3d train_cat=gemstone`."""

from __future__ import annotations

import time

from _session import (
    dataset_from,
    dataset_settings,
    model_from,
    plan_from,
    recipe_of,
    same_data,
    script,
    store_from,
    train_command,
    whole,
)
from omegaconf import DictConfig

from btp.experiments.protocol import train_plan


@script("train")
def main(config: DictConfig) -> None:
    started = time.monotonic()
    recipe = recipe_of()
    dataset = dataset_from(config)
    plan = plan_from(config, dataset, recipe, config.train_cat, whole(config, "seed"))
    model = model_from(config)
    path = plan.run(config.outputs, model.config.name).detector_path
    finished = config.resume and path.is_file()
    train_plan(
        plan,
        dataset,
        store_from(config, model),
        config.outputs,
        train_command(plan),
        dataset_settings(config),
        resume=config.resume,
    )
    if finished:
        print(f"{path}: already finished; train it again with resume=false")
        return
    count = len(dataset.samples(plan.train_cat, recipe.train_split))
    untrained = "" if model.trained else ", encoder: untrained"
    seconds = time.monotonic() - started
    print(f"{path} ({count} scans, {seconds:.0f} s{untrained})")
    print(f"next: python scripts/eval.py {same_data()}")


if __name__ == "__main__":
    main()
