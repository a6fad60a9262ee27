"""Train on one category: `btp train dataset=real3d train_cat=gemstone`."""

from __future__ import annotations

import time

from omegaconf import DictConfig

from btp.commands.settings import script, whole
from btp.commands.workspace import plan_from, workspace_from
from btp.experiments.train_run import train_run


@script("train")
def main(config: DictConfig) -> None:
    started = time.monotonic()
    workspace = workspace_from(config, trains=True)
    plan = plan_from(config, workspace.dataset.name, config.train_cat, whole(config, "seed"))
    path = workspace.run(plan).detector_path
    finished = config.resume and path.is_file()
    train_run(plan, workspace, resume=config.resume)
    if finished:
        print(f"{path}: already finished; train it again with resume=false")
        return
    count = len(workspace.dataset.samples(plan.train_cat, plan.recipe.training.train_split))
    untrained = "" if workspace.model.trained else ", encoder: untrained"
    print(f"{path} ({count} scans, {time.monotonic() - started:.0f} s{untrained})")
    print(f"next: {workspace.commands.evaluate()}")
