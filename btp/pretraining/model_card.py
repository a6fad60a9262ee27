"""The embedded model's card: how it was made and what it reaches, measured, not copied."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from btp import metrics
from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.synthesis import demo
from btp.data.synthesis.scanner import SetSize
from btp.evaluation.scoring import evaluate, mean_over_categories
from btp.experiments.runs import find_runs
from btp.features.store import DiskStore, FeatureStore
from btp.inspect.predictor import Inspector, load
from btp.models.checkpoint import load_detector
from btp.models.point_language import PointLanguageModel
from btp.pretraining.corpus.captions import article
from btp.pretraining.history import mesh_credits, towers_made
from btp.runtime.files import write_text
from btp.runtime.threads import core_count
from btp.weights.records import file_sha256

FILES = ("points", "text", "detector")
CHECK_CATEGORIES = ("gear", "hook", "vase")
CHECK_SEED = 20261122
SHOWN = ("point_auroc", "object_auroc", "raw_aupro", "raw_point_auroc")


def heads_folders(folder: Path) -> list[Path]:
    """Return the folders of each seed's heads: the embedded model's own folder first."""
    made = json.loads((folder / "pretraining.json").read_text())
    return [folder, *(folder / "heads" / f"seed{seed}" for seed in made["head_seeds"][1:])]


def embedded_figures(path: Path, dataset: Dataset, store: FeatureStore) -> dict[str, float]:
    """Measure a detector that has seen no category of a dataset: mean over all of them.

    Args:
        path: detector whose heads were trained on the corpus alone.
        dataset: every category is scored.
        store: of the detector's encoder.
    """
    detector = load_detector(path)[0].to(store.model.device)
    rows = [scores.measure() for scores in evaluate(detector, dataset, store, seen=None)]
    return {name: mean for name, (mean, _) in mean_over_categories(rows).items()}


def predicted_figures(inspectors: Sequence[Inspector], dataset: Dataset) -> list[dict[str, float]]:
    """Measure what `predict` gives, at every point of the scans: mean over all categories.

    Args:
        inspectors: what `btp.load` returns, of one encoder and reading the same; they have seen no
            category of the dataset. A scan is prepared once for all of them.
        dataset: every category is scored.

    Returns:
        For each inspector the metrics of `SHOWN`; those at sampled points are nan, as there is more
        than one sampling.
    """
    rows: list[list[dict[str, float]]] = [[] for _ in inspectors]
    for category in tqdm(dataset.categories, "predict", disable=None):
        samples = dataset.samples(category, "test")
        clouds = [dataset.read(sample) for sample in samples]
        with ThreadPoolExecutor(core_count()) as pool:
            ready = list(pool.map(inspectors[0].ready, [cloud.points for cloud in clouds]))
        labels = [np.zeros(len(c.points), bool) if c.labels is None else c.labels for c in clouds]
        defective = np.array([sample.is_anomalous for sample in samples])
        for own, inspector in zip(rows, inspectors, strict=True):
            found = [one for scan in ready for one in inspector.score([scan])]
            scores = [one.point_scores for one in found]
            objects = np.array([one.object_score for one in found])
            own.append(
                {
                    "point_auroc": math.nan,
                    "object_auroc": metrics.object_metrics(defective, objects)["auroc"],
                    "raw_aupro": metrics.aupro([cloud.points for cloud in clouds], labels, scores),
                    "raw_point_auroc": metrics.point_metrics(labels, scores)["auroc"],
                }
            )
    return [{m: float(np.mean([row[m] for row in own])) for m in SHOWN} for own in rows]


def quick_check(folder: Path) -> dict[str, float | str]:
    """Measure a small fixed set, made on the spot, and hash the files: for the tests.

    Args:
        folder: of the embedded model.
    """
    _, encoder, about, *_ = load_detector(folder / "detector.safetensors")
    with TemporaryDirectory() as temporary:
        root = Path(temporary)
        demo.generate(root / "demo", CHECK_SEED, CHECK_CATEGORIES, SetSize(0, 6, 6), workers=1)
        store = DiskStore(root / "store", PointLanguageModel(encoder), about["n_points"])
        figures = embedded_figures(folder / "detector.safetensors", Folder(root / "demo"), store)
    files = {name: file_sha256(folder / f"{name}.safetensors") for name in FILES}
    return {name: figures[name] for name in SHOWN} | files


def recognition(dataset: Dataset, store: FeatureStore) -> float:
    """Measure how often a test scan's nearest text among "a <category>" is its own (Eq. 1)."""
    text = store.model.encode_text([f"{article(name)} {name}" for name in dataset.categories]).cpu()
    hits = []
    for number, category in enumerate(dataset.categories):
        features = store.load(dataset, category, "test").features
        hits.append((features.object_embedding @ text.T).argmax(1) == number)
    return float(torch.cat(hits).float().mean())


@dataclass(frozen=True)
class Spread:
    """Metrics as mean and standard deviation over seeds.

    Attributes:
        title: what was measured.
        mean, std: by metric, fractions; std is nan for one seed.
        seeds: how many.
    """

    title: str
    mean: dict[str, float]
    std: dict[str, float]
    seeds: int

    @classmethod
    def of(cls, title: str, rows: Sequence[dict[str, float]]) -> Spread:
        """Average rows of metrics, one a seed."""
        table = {name: np.array([row[name] for row in rows]) for name in SHOWN}
        many = len(rows) > 1
        std = {k: float(v.std(ddof=1)) if many else float("nan") for k, v in table.items()}
        return cls(title, {k: float(v.mean()) for k, v in table.items()}, std, len(rows))

    def line(self) -> str:
        """Return a line of the card's table, percent."""
        cells = [
            " –"
            if math.isnan(self.mean[m])
            else f" {100 * self.mean[m]:.1f}"
            + (f" ± {100 * self.std[m]:.1f}" if self.seeds > 1 else "")
            for m in SHOWN
        ]
        return f"| {self.title} | {self.seeds} |" + " |".join(cells) + " |"


def one_category(
    outputs: Path, dataset: Dataset, encoder: str, label: str, trained_on: Sequence[str]
) -> list[dict[str, float]]:
    """Average scored runs by the paper's protocol: one annotated category, all others tested.

    Args:
        outputs: folder of all runs.
        dataset: that they were trained and scored on.
        encoder: its name.
        label: of the runs' recipe.
        trained_on: train categories.

    Returns:
        For each seed with which all of these were trained on, the mean over train categories of
        the mean over the unseen ones; sorted by seed.
    """
    found: dict[str, dict[str, dict[str, float]]] = defaultdict(dict)
    for run in find_runs(outputs, dataset.name, encoder):
        if run.folder.parent.parent.name != label:
            continue
        record = run.record(dataset.name)
        if record is not None:
            found[run.folder.name][str(record.train_cat)] = record.mean
    whole = [rows for _, rows in sorted(found.items()) if set(rows) >= set(trained_on)]
    return [{m: float(np.mean([r[c][m] for c in trained_on])) for m in SHOWN} for r in whole]


def write_card(folder: Path, spreads: Sequence[Spread], named: float) -> str:
    """Write README.md and check.json beside the embedded model's files.

    Args:
        folder: with points, text and detector.safetensors, and pretraining.json.
        spreads: the lines of its table.
        named: of `recognition` on the demo set.

    Returns:
        The table of figures.
    """
    made = json.loads((folder / "pretraining.json").read_text())
    columns = "".join(f" {name} |" for name in ("P-AUROC", "O-AUROC", "AU-PRO raw", "P-AUROC raw"))
    table = [f"| mean over unseen categories, % | seeds |{columns}", "|---|--:|--:|--:|--:|--:|"]
    lines = "\n".join([*table, *(spread.line() for spread in spreads)])
    write_text(folder / "README.md", _card(folder, made, lines, named))
    write_text(folder / "check.json", json.dumps(quick_check(folder), indent=1) + "\n")
    return lines


def _card(folder: Path, made: dict[str, Any], lines: str, named: float) -> str:
    inspector = load(folder / "detector.safetensors")
    sizes = {name: (folder / f"{name}.safetensors").stat().st_size / 1e6 for name in FILES}
    recipe = load_detector(folder / "detector.safetensors").recipe
    epochs = recipe.training.epochs
    return f"""# mini: the embedded point-language model

A small point encoder, a small text tower, and heads trained with them, so that BTP runs for real on
a bare machine: `btp.load("mini")`. **It is not ULIP-2**, and its figures are not the paper's.

{lines}

`btp.load("mini")` has seen no annotated category at all; its seeds are those of the heads, the
towers were trained once. "one annotated category" is the paper's protocol, mean over all train
categories unless some are named.

Zero-shot recognition of the demo set's 12 names ("a <name>", Eq. 1): {100 * named:.1f} % (chance
8.3 %). The weights were chosen on clouds of the corpus, never on demo or parts. Things of the
demo's kinds do occur in the corpus, from other generators and under their names, or no name could
be learned: the real meshes are the harder test of what was never seen.

{towers_made(made)}
- Heads: recipe `{recipe.name}` with gfcm_input={recipe.detector.gfcm_input} and weight
  {recipe.loss.geometry} of the geometric loss, {epochs} epochs on {made["heads"]} clouds.
- Files, 16 bit but for the heads: {", ".join(f"{k} {v:.1f} MB" for k, v in sizes.items())}.
- Fingerprint of the point encoder: {inspector.model.fingerprint}.
- Licence: Apache-2.0, as the project.
{mesh_credits(made)}"""
