"""Measure the embedded model and write its card: `python scripts/model_card.py`."""

from __future__ import annotations

from pathlib import Path

from _session import model_from, script
from omegaconf import DictConfig

from btp.data.catalog import open_dataset
from btp.data.store import FeatureStore
from btp.inference import load
from btp.report.model_card import (
    Spread,
    embedded_figures,
    heads_folders,
    one_category,
    predicted_figures,
    recognition,
    write_card,
)

ENCODERS = {"mini": "", "mini_untrained": ", encoder untrained"}


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
    heads = heads_folders(folder)
    spreads = []
    for name, dataset in sets.items():
        rows = [embedded_figures(path / "detector.safetensors", dataset, store) for path in heads]
        spreads.append(Spread.of(f'`btp.load("mini")`, 2,048 points: {name}', rows))
        inspector = load(folder / "detector.safetensors", model.device)
        predicted = [predicted_figures(inspector, dataset)]
        spreads.append(Spread.of(f'`btp.load("mini").predict`: {name}', predicted))
    for encoder, title in ENCODERS.items():
        rows = one_category(Path(config.outputs), demo, encoder, config.label)
        if rows:
            spreads.append(
                Spread.of(f"one annotated category, `{config.label}`: demo{title}", rows)
            )
    print(write_card(folder, spreads, recognition(demo, store)))
    print(folder / "README.md")


if __name__ == "__main__":
    main()
