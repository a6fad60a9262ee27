"""List, get and convert weights: see configs/weights.yaml."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from btp.commands.settings import plain, script
from btp.commands.workspace import model_from
from btp.errors import ConfigError
from btp.experiments.protocol import Plan
from btp.models.published_weights import fetch, status
from btp.models.release_heads import convert_heads
from btp.recipe import Recipe


@script("weights")
def main(config: DictConfig) -> None:
    model = model_from(config)
    if config.fetch not in (None, "ulip2"):
        raise ConfigError(f"fetch is {config.fetch!r}; expected fetch=ulip2")
    if config.path is not None and config.fetch is None:
        raise ConfigError(f"path={config.path} without fetch; add fetch=ulip2")
    if config.fetch is not None:
        path = None if config.path is None else Path(config.path)
        for target in fetch(model.config, path):
            print(f"{target}: there and verified")
    if config.convert is not None:
        recipe = Recipe.from_flat(plain(config.recipe))
        trained = config.dataset.name, config.train_cat, config.seed
        run = Plan(*trained, recipe).run(config.outputs, model.config.name)
        source = Path(config.convert)
        convert_heads(source, model, recipe, run.detector_path, *trained)
        print(run.detector_path)
    if config.fetch is None and config.convert is None:
        print("\n".join(status(model.config)))
