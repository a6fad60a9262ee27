"""Records of runs that nobody made, for tests of what is done with records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import btp
from btp.evaluation.scoring import METRICS
from btp.experiments.record import RunRecord
from btp.recipe import Recipe

PAPER = Recipe()


def record(train_cat: str | None, seed: int = 111, /, **categories: float) -> RunRecord:
    """A record whose every metric of a category has one value."""
    return RunRecord(
        folder=f"outputs/{train_cat}/seed{seed}",
        baseline=None,
        train_dataset="set",
        train_cat=train_cat,
        seed=seed,
        recipe=PAPER,
        n_points=2048,
        sampling_seed=0,
        encoder="mini",
        encoder_fingerprint="e1",
        text_fingerprint="t1",
        encoder_trained=True,
        heads_digest="",
        bfloat16=False,
        detector=f"d-{train_cat}-{seed}",
        epoch=3,
        loss=0.5,
        command=f"python scripts/train.py dataset=folder recipe=paper train_cat={train_cat}",
        test_dataset="set",
        test_problems="",
        scans="s1",
        thresholds=None,
        categories={name: dict.fromkeys(METRICS, value) for name, value in categories.items()},
        repeated={},
        btp=btp.__version__,
        torch="2",
        device="cpu, 1 threads",
    )


def baseline(name: str, train_cat: str | None = None, /, **categories: float) -> RunRecord:
    """A record of a baseline."""
    made = replace(record(train_cat, **categories), baseline=name, detector=None)
    return replace(made, folder=f"outputs/baselines/{name}/{train_cat}/seed111")


def changed(given: RunRecord, **fields: Any) -> RunRecord:
    """The same record but for some fields."""
    return replace(given, **fields)
