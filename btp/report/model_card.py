"""The embedded model's card: how it was made and what it reaches, measured, not copied."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from btp.data import demo
from btp.data.dataset import Dataset
from btp.data.folder import Folder
from btp.data.scans import SetSize
from btp.data.store import FeatureStore
from btp.evaluation import evaluate, mean_over_categories
from btp.files import write_text
from btp.inference import load
from btp.weights.models import PointLanguageModel, load_detector
from btp.weights.records import file_sha256

FILES = ("points", "text", "detector")
CHECK_CATEGORIES = ("gear", "hook", "vase")
CHECK_SEED = 20261122
SHOWN = ("point_auroc", "object_auroc", "raw_aupro", "raw_point_auroc")


def embedded_figures(path: Path, dataset: Dataset, store: FeatureStore) -> dict[str, float]:
    """Metrics of a detector that has seen no category of a dataset, mean over all of them.

    Args:
        path: detector whose heads were trained on the corpus alone.
        dataset: every category is scored.
        store: of the detector's encoder.
    """
    detector = load_detector(path)[0].to(store.model.device)
    rows = [scores.measure() for scores in evaluate(detector, dataset, store, seen=None)]
    return {name: mean for name, (mean, _) in mean_over_categories(rows).items()}


def quick_check(folder: Path) -> dict[str, float | str]:
    """Figures on a small fixed set, made on the spot, and hashes of the files: for the tests.

    Args:
        folder: of the embedded model.
    """
    _, encoder, about = load_detector(folder / "detector.safetensors")
    with TemporaryDirectory() as temporary:
        root = Path(temporary)
        demo.generate(root / "demo", CHECK_SEED, CHECK_CATEGORIES, SetSize(0, 6, 6), workers=1)
        store = FeatureStore(root / "store", PointLanguageModel(encoder), about["n_points"])
        figures = embedded_figures(folder / "detector.safetensors", Folder(root / "demo"), store)
    files = {name: file_sha256(folder / f"{name}.safetensors") for name in FILES}
    return {name: figures[name] for name in SHOWN} | files


def recognition(dataset: Dataset, store: FeatureStore) -> float:
    """Share of test scans whose nearest text among "a <category>" is their own (Eq. 1)."""
    text = store.model.encode_text([f"a {name}" for name in dataset.categories]).cpu()
    hits = []
    for number, category in enumerate(dataset.categories):
        features = store.load(dataset, category, "test").features
        hits.append((features.object_embedding @ text.T).argmax(1) == number)
    return float(torch.cat(hits).float().mean())


def write_card(folder: Path, figures: dict[str, dict[str, float]], named: float) -> str:
    """Write README.md and check.json beside the embedded model's files.

    Args:
        folder: with points, text and detector.safetensors, and pretraining.json.
        figures: of `embedded_figures`, by the name of what was scored.
        named: of `recognition` on the demo set.

    Returns:
        The table of figures.
    """
    made = json.loads((folder / "pretraining.json").read_text())
    inspector = load(folder / "detector.safetensors")
    sizes = {name: (folder / f"{name}.safetensors").stat().st_size / 1e6 for name in FILES}
    columns = "".join(f" {name} |" for name in ("P-AUROC", "O-AUROC", "AU-PRO raw", "P-AUROC raw"))
    table = [f"| no annotated category at all, % |{columns}", "|---|--:|--:|--:|--:|"]
    for name, values in figures.items():
        cells = "".join(f" {100 * values[metric]:.1f} |" for metric in SHOWN)
        table.append(f"| {name} |{cells}")
    lines = "\n".join(table)
    settings, best = made["settings"], made["best"]
    recipe = inspector.detector.recipe
    text = f"""# mini: the embedded point-language model

A small point encoder, a small text tower, and heads trained with them, so that BTP runs for real on
a bare machine: `btp.load("mini")`. **It is not ULIP-2**, and its figures are not the paper's.

{lines}

Zero-shot recognition of the demo set's 12 names ("a <name>", Eq. 1): {100 * named:.1f} % (chance
8.3 %). One training seed; demo and parts were looked at only to write this table.

- Data: {made["clouds"]:,} procedural captioned clouds (`btp/data/corpus/`),
  {settings["steps"]} steps of {settings["batch_size"]} clouds, seed {settings["seed"]}.
- Kept: step {best["step"]:.0f}, the best on families that were never trained on
  ({", ".join(made["held_out_families"])}): point AUROC {best["point_auroc"]:.3f}, object AUROC
  {best["object_auroc"]:.3f}, caption retrieval among 32 clouds {best["retrieval"]:.3f}.
- Objectives: point-text contrast, patch-phrase and object-phrase agreement
  (`btp/pretraining.py`).
- Heads: recipe `{recipe.name}` with gfcm_input={recipe.gfcm_input} and weight
  {recipe.loss.geometry} of the geometric loss, {recipe.epochs} epochs on {made["heads"]} clouds.
- Hardware: {made["hardware"]}.
- Command: `{made["command"]}`.
- Files, 16 bit but for the heads: {", ".join(f"{k} {v:.1f} MB" for k, v in sizes.items())}.
- Fingerprint of the point encoder: {inspector.model.fingerprint}.
- Licence: Apache-2.0, as the project.
"""
    write_text(folder / "README.md", text)
    write_text(folder / "check.json", json.dumps(quick_check(folder), indent=1) + "\n")
    return lines
