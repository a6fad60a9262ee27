"""Score finished runs on the categories they have not seen: `python scripts/eval.py`."""

from __future__ import annotations

from pathlib import Path

from _session import dataset_from, model_from, script, store_from
from omegaconf import DictConfig

from btp.errors import DataError
from btp.report.summary import score_run, summarise
from btp.runs import Run, find_runs


@script("eval")
def main(config: DictConfig) -> None:
    dataset = dataset_from(config)
    model = model_from(config)
    store = store_from(config, model)
    if config.run is not None:
        runs = [Run(Path(config.run))]
    else:
        runs = list(find_runs(config.outputs, dataset.name, model.config.name))
    if not runs:
        raise DataError(
            f"{config.outputs}/{dataset.name}/{model.config.name}: no finished run to score; train "
            f"one: python scripts/train.py dataset={dataset.name} encoder={model.config.name} "
            f"train_cat={dataset.categories[0]}"
        )
    for run in runs:
        score_run(run, dataset, store, config.thresholds, config.pictures, config.rescore)
    folder = Path(config.outputs) / dataset.name / model.config.name
    text, paths = summarise(runs, dataset.name, folder)
    print(text)
    for path in paths:
        print(path)


if __name__ == "__main__":
    main()
