"""The baselines by name, and scoring a category with one of them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from btp.data.dataset import Dataset
from btp.errors import ConfigError, DataError
from btp.evaluation import memory
from btp.evaluation.scoring import CategoryScores, score
from btp.experiments import ulip
from btp.features.store import FeatureStore
from btp.models.detector import Detector
from btp.recipe import Recipe


@dataclass(frozen=True)
class Baseline:
    """What a table says of a method.

    Attributes:
        name: key in `BASELINES`, for commands and files.
        title: as tables print it.
        sees_normal_scans: compares with normal training scans of the tested category, so it is
            not zero-shot.
        needs_training: is trained on one annotated category, which it is then not tested on.
    """

    name: str
    title: str
    sees_normal_scans: bool = False
    needs_training: bool = False


BASELINES = {
    baseline.name: baseline
    for baseline in (
        Baseline("ulip_zero_shot", "ULIP (zero-shot)"),
        Baseline("ulip_linear", "ULIP (linear)", needs_training=True),
        Baseline("btf", "BTF (FPFH)", sees_normal_scans=True),
        Baseline("patchcore_fpfh", "PatchCore (FPFH)", sees_normal_scans=True),
        Baseline("patchcore_encoder", "PatchCore (encoder)", sees_normal_scans=True),
    )
}


def score_baseline(
    name: str,
    dataset: Dataset,
    store: FeatureStore,
    category: str,
    train_cat: str | None = None,
    seed: int = 111,
    recipe: Recipe | None = None,
) -> CategoryScores:
    """Score the test scans of one category with a baseline.

    What a baseline learns of a train category is kept for the next call with the same objects.

    Args:
        name: one of `BASELINES`.
        dataset: to score.
        store: of its features.
        category: of the dataset.
        train_cat: category whose annotated scans a baseline that `needs_training` learns from; the
            others ignore it.
        seed: of that training, and of the coreset of the PatchCore memories; the others have no
            chance in them.
        recipe: loss, optimiser, scoring and fixed prompt texts; None for the paper's.

    Raises:
        ConfigError: an unknown name; no train category where one is needed, or the tested one.
        DataError: no normal training scans of the category where they are needed.
    """
    baseline = _checked(name, category, train_cat)
    recipe = recipe or Recipe()
    if baseline.sees_normal_scans:
        return _score_memory(baseline, dataset, store, category, seed)
    data = store.load(dataset, category, "test")
    if train_cat is not None and baseline.needs_training:
        detector = _linear(dataset, store, train_cat, seed, recipe)
        return score(detector, data, store.model.device)
    return score(ulip.ZeroShot(store.model, recipe), data, store.model.device)


def _checked(name: str, category: str, train_cat: str | None) -> Baseline:
    if name not in BASELINES:
        raise ConfigError(f"baseline {name!r} is not known; expected one of {', '.join(BASELINES)}")
    baseline = BASELINES[name]
    if baseline.needs_training and train_cat is None:
        raise ConfigError(
            f"{baseline.title} learns from the annotated scans of one category, and none was "
            "given; name it as train_cat"
        )
    if baseline.needs_training and train_cat == category:
        raise ConfigError(
            f"{baseline.title} was to be tested on {category}, the category that it learns from; "
            "choose another one of the two"
        )
    return baseline


def _score_memory(
    baseline: Baseline, dataset: Dataset, store: FeatureStore, category: str, seed: int
) -> CategoryScores:
    if not dataset.samples(category, "train"):
        raise DataError(
            f"{dataset.name}, {category}: no normal scans in its train folder, and "
            f"{baseline.title} compares with those; add some, or leave this baseline out"
        )
    describe: memory.Describe
    describe, of_points, share = {
        "btf": (memory.point_fpfh, True, 1.0),
        "patchcore_fpfh": (memory.patch_fpfh, False, memory.CORESET),
        "patchcore_encoder": (memory.patch_taps, False, memory.CORESET),
    }[baseline.name]
    with_fpfh, device = describe is not memory.patch_taps, store.model.device
    normal = store.load(dataset, category, "train", point_fpfh=with_fpfh)
    bank = memory.remember(normal, describe, of_points, share, seed, device)
    return score(bank, store.load(dataset, category, "test", point_fpfh=with_fpfh), device)


@functools.lru_cache(maxsize=32)  # a detector of one layer each; datasets and stores by identity
def _linear(
    dataset: Dataset, store: FeatureStore, train_cat: str, seed: int, recipe: Recipe
) -> Detector:
    data = store.load(dataset, train_cat, recipe.train_split)
    return ulip.train_linear(data, store.model, recipe, seed)
