"""Measure the embedded model and write its card: `python scripts/model_card.py`."""

from __future__ import annotations

from pathlib import Path

from _session import model_from, script
from omegaconf import DictConfig

from btp.data.catalog import open_dataset
from btp.data.store import FeatureStore
from btp.report.model_card import embedded_figures, recognition, write_card


@script("model_card")
def main(config: DictConfig) -> None:
    model = model_from(config)
    store = FeatureStore(Path(config.store), model)
    folder = Path(config.folder)
    demo = open_dataset("demo", config.demo)
    sets = {"demo set, 12 categories": demo}
    if config.parts is not None:
        parts = open_dataset("folder", config.parts)
        sets[f"scans of {len(parts.categories)} real meshes"] = parts
    figures = {
        name: embedded_figures(folder / "detector.safetensors", dataset, store)
        for name, dataset in sets.items()
    }
    print(write_card(folder, figures, recognition(demo, store)))
    print(folder / "README.md")


if __name__ == "__main__":
    main()
