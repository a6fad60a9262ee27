"""Score finished runs on the categories they have not seen: `python scripts/eval.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from _session import dataset_from, model_from, same_data, script, store_from
from omegaconf import DictConfig

from btp.data.dataset import Dataset
from btp.errors import DataError, WeightsError
from btp.report.summary import score_run, summarise
from btp.runs import Run, find_runs
from btp.weights.models import PointLanguageModel


@script("eval")
def main(config: DictConfig) -> None:
    dataset = dataset_from(config)
    model = model_from(config)
    store = store_from(config, model)
    given = config.run is not None
    runs = [Run(Path(config.run))] if given else find_runs(config.outputs, *names(dataset, model))
    if not runs:
        raise DataError(
            f"{config.outputs}/{dataset.name}/{model.config.name}: no finished run to score; train "
            f"one: python scripts/train.py {same_data()} train_cat={dataset.categories[0]}"
        )
    results, pictures = [], []
    for run in runs:
        try:
            results.append(
                score_run(run, dataset, store, config.thresholds, config.pictures, config.rescore)
            )
        except WeightsError as error:
            if given:
                raise
            print(f"left out: {error}", file=sys.stderr)
        pictures.append(run.pictures_path(dataset.name))
    folder = runs[0].folder if given else Path(config.outputs, *names(dataset, model))
    text, paths = summarise(results, folder)
    print(text)
    for path in [*paths, *(path for path in pictures if path.is_file())]:
        print(path)


def names(dataset: Dataset, model: PointLanguageModel) -> tuple[str, str]:
    """Folders of a dataset's and an encoder's runs."""
    return dataset.name, model.config.name


if __name__ == "__main__":
    main()
