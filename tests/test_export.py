"""The ONNX file gives the scores of PyTorch, and says what is missing or wrong."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from trained import train_tiny

import btp
from btp.errors import ConfigError, DataError
from btp.geometry.sampling import farthest_point_sample
from btp.inspect import export
from btp.inspect.export import check_export, export_onnx, farthest_points_by_scan, score_by_onnx
from btp.inspect.predictor import Inspector
from btp.inspect.scan import ReadyScan

needs_onnx = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxruntime", "onnxscript")),
    reason="the extra onnx is not installed",
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def inspector(root: Path) -> Inspector:
    return btp.load(train_tiny(root), bfloat16=False)


@pytest.fixture(scope="module")
def exported(root: Path, inspector: Inspector) -> Path:
    export_onnx(inspector, root / "tiny model.onnx")
    return root / "tiny model.onnx"


def scans(root: Path) -> list[Path]:
    return sorted((root / "data" / "box" / "test").iterdir())


@pytest.mark.parametrize("skip_origin", [False, True])
def test_the_loop_of_the_graph_is_farthest_point_sampling(skip_origin: bool) -> None:
    points = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    points[7] = 0.001
    expected = farthest_point_sample(points[None], 30, skip_origin=skip_origin)[0]
    assert farthest_points_by_scan(points, 30, skip_origin).tolist() == expected.tolist()


@needs_onnx
@pytest.mark.slow
def test_scores_are_those_of_pytorch(root: Path, inspector: Inspector, exported: Path) -> None:
    for scan in scans(root):
        ready = inspector.ready(scan, "sampled")
        values, object_score = score_by_onnx(exported, ready)
        scored = inspector.score([ready])[0]
        np.testing.assert_allclose(values[ready.surface_rows[0]], scored.surface_scores, atol=1e-3)
        assert object_score == pytest.approx(scored.object_score, abs=1e-3)
        assert check_export(inspector, exported, scan) < 1e-3


@needs_onnx
@pytest.mark.slow
def test_what_is_fixed_in_the_file(inspector: Inspector, exported: Path) -> None:
    import onnx

    model = onnx.load(exported)
    onnx.checker.check_model(model)

    def sizes(values: list) -> dict[str, list[int]]:
        return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}

    assert sizes(model.graph.input) == {"points": [1, 128, 3], "surface": [1, 128, 62]}
    assert sizes(model.graph.output) == {"point_scores": [1, 128], "object_score": [1]}
    assert inspector.digest in model.doc_string


@needs_onnx
@pytest.mark.slow
def test_another_detector_s_file_is_found_out(
    root: Path, inspector: Inspector, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = export.score_by_onnx

    def shifted(path: Path, ready: ReadyScan) -> tuple[NDArray[np.float32], float]:
        values, object_score = real(path, ready)
        return values, object_score + 0.01

    monkeypatch.setattr(export, "score_by_onnx", shifted)
    with pytest.raises(DataError, match=r"differ by 0\.01 from PyTorch's; expected at most 0\.001"):
        check_export(inspector, exported, scans(root)[0])


def test_without_the_extra(
    inspector: Inspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"onnxruntime: not installed; .* the extra `onnx`"):
        export_onnx(inspector, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []
