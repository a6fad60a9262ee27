"""Sample and encode a dataset into the feature store: `btp prepare dataset=demo`."""

from __future__ import annotations

import time

from omegaconf import DictConfig

from btp.commands.settings import script, whole
from btp.commands.workspace import workspace_from
from btp.runtime.progress import Progress


@script("prepare")
def main(config: DictConfig) -> None:
    started, count = time.monotonic(), 0
    workspace = workspace_from(config)
    dataset = workspace.dataset
    store = workspace.store(whole(config, "n_points"), whole(config, "sampling_seed"))
    categories = list(config.categories or dataset.categories)
    total = sum(len(dataset.samples(category, "test")) for category in categories)
    with Progress(dataset.name, total) as progress:
        for category in categories:
            data = store.load(dataset, category, "test")
            count += len(data)
            small = int(data.repeated.sum())
            note = f", {small} with fewer than {config.n_points} points" if small else ""
            progress.print(f"{category}: {len(data)} test scans{note}")
            progress.update(len(data))
    print(f"{count} scans of {dataset.name} in {config.store}, {time.monotonic() - started:.0f} s")
