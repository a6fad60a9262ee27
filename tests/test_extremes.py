from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny import CATEGORIES, POINTS, tiny_model, write_tiny_dataset

from btp.data.folder import Folder
from btp.data.prepare import normalise
from btp.evaluation.scoring import CategoryScores
from btp.experiments.scored_scans import ScoredScans
from btp.features.store import DiskStore
from btp.metrics import point_metrics
from btp.report import extremes
from btp.report.extremes import write_extremes


def test_each_category_s_best_and_worst_scan_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = Folder(write_tiny_dataset(tmp_path / "data"))
    store = DiskStore(tmp_path / "store", tiny_model(), POINTS)
    rng = np.random.default_rng(0)
    scored = {}
    for category in CATEGORIES:
        data = store.load(dataset, category, "test")
        values = rng.random((len(data), POINTS), dtype=np.float32)
        scored[category] = ScoredScans.of(CategoryScores(data, values.max(1), values))
    objects = ScoredScans(
        scored["box"].samples,
        scored["box"].points,
        scored["box"].labels,
        scored["box"].object_scores,
        np.full_like(scored["box"].point_scores, np.nan),
    )
    seen = []
    monkeypatch.setattr(extremes, "write_viewer", lambda path, scans, title: seen.extend(scans))
    methods = {"ours": scored, "objects only": dict.fromkeys(CATEGORIES, objects)}
    assert write_extremes(tmp_path / "viewer.html", dataset, methods, "title")

    assert len(seen) == 2 * len(CATEGORIES)
    for category in CATEGORIES:
        own = scored[category]
        aurocs = {
            sample.name: point_metrics(own.labels[row], own.point_scores[row])["auroc"]
            for row, sample in enumerate(own.samples)
            if sample.is_anomalous
        }
        worst, best = sorted(aurocs, key=aurocs.__getitem__)[:: len(aurocs) - 1]
        names = {scan.name for scan in seen if scan.category == category}
        assert names == {f"{worst} (worst of {category})", f"{best} (best of {category})"}
    shown = seen[0]
    assert list(shown.scores) == ["ours"]  # a method without point scores has nothing to show
    assert shown.labels is not None and shown.labels.sum() == 25
    row = next(
        r for r, s in enumerate(scored["box"].samples) if shown.name.startswith(s.name + " ")
    )
    distances = normalise(shown.points)[0][:, None] - scored["box"].points[row][None]
    nearest = np.linalg.norm(distances, axis=2).argmin(1)
    np.testing.assert_allclose(shown.scores["ours"], scored["box"].shown(row)[nearest])
