"""Export a detector as an ONNX graph that scores prepared clouds without PyTorch (extra `onnx`).

The graph holds the patches (farthest point sampling and neighbours), encoder, heads and scores.
Reading a scan, sampling its points and describing its dense surface are no fixed number of steps
and stay outside: `Inspector.ready` does them and returns the graph's inputs.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from btp.errors import ConfigError, DataError
from btp.geometry.local_geometry import CHANNELS
from btp.geometry.neighbours import knn
from btp.geometry.patches import gather
from btp.geometry.sampling import ORIGIN_SQUARED_NORM
from btp.inspect.predictor import Inspector
from btp.inspect.scan import ReadyScan
from btp.models.fast import accelerated, for_scoring
from btp.runtime.files import write_bytes

OPSET = 20
TOLERANCE = 1e-3
"""Largest difference allowed between the scores of the graph and those of PyTorch."""


class FixedDetector(nn.Module):
    """A detector for one prepared cloud whose sizes are all known at export."""

    def __init__(self, inspector: Inspector) -> None:
        super().__init__()
        self.encoder = accelerated(inspector.model.points)
        self.score = for_scoring(inspector.detector)
        self.encoder_reads_surface = inspector.model.reads_surface

    def forward(self, points: Tensor, surface: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Score points [1, N, 3] with channels [1, N, F]: point scores [1, N], object score [1]."""
        config = self.encoder.config
        rows = farthest_points_by_scan(points[0], config.groups, config.skip_origin)[None]
        patch_index = knn(gather(points, rows), points, config.group_size)
        read = surface if self.encoder_reads_surface else None
        features = replace(self.encoder(points, read, patch_index), surface=surface)
        scores = self.score(features)
        return scores.point_scores, scores.object_scores


def export_onnx(inspector: Inspector, path: Path) -> None:
    """Write a detector as an ONNX file that includes its weights.

    Inputs, float32: `points` [1, N, 3] in the unit sphere and, where the detector uses them,
    `surface` [1, N, F] of `btp.geometry`. Outputs: `point_scores` [1, N] and `object_score` [1]. N
    is the detector's number of points; like the batch of one it is fixed.

    Raises:
        ConfigError: if the extra `onnx` is not installed.
        DataError: if the file cannot be written.
    """
    _require("onnx", "onnxscript", "onnxruntime")
    points = torch.randn(1, inspector.n_points, 3, generator=torch.Generator().manual_seed(0))
    example: tuple[Tensor, ...] = (points / points.norm(dim=-1).max(),)
    if inspector.reads_channels:
        example += (torch.zeros(1, inspector.n_points, CHANNELS),)
    model = FixedDetector(inspector).eval()
    with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        program: Any = torch.onnx.export(
            model.cpu(),
            example,
            input_names=["points", "surface"][: len(example)],
            output_names=["point_scores", "object_score"],
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    content = program.model_proto
    content.doc_string = _about(inspector)
    write_bytes(path, content.SerializeToString())


def score_by_onnx(path: Path, ready: ReadyScan) -> tuple[NDArray[np.float32], float]:
    """Run an exported detector on a prepared scan, by onnxruntime.

    Args:
        path: of the ONNX file.
        ready: with one sampling.

    Returns:
        Scores float32 [N] of the sampled points, and the object score.

    Raises:
        ConfigError: if the extra `onnx` is not installed.
    """
    _require("onnxruntime")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = {"points": ready.points[:1]}
    if ready.channels is not None:
        inputs["surface"] = ready.channels[:1].numpy()
    point_scores, object_score = session.run(["point_scores", "object_score"], inputs)
    return point_scores[0], float(object_score[0])


def check_export(inspector: Inspector, path: Path, scan: NDArray | str | Path) -> float:
    """Return the largest difference between an exported detector's scores and the original's.

    Raises:
        DataError: if it is above 1e-3.
        ConfigError: if the extra `onnx` is not installed.
    """
    ready = inspector.ready(scan, "sampled")
    scored = inspector.score([ready])[0]
    values, object_score = score_by_onnx(path, ready)
    apart = np.abs(values[ready.surface_rows[0]] - scored.surface_scores).max()
    difference = max(float(apart), abs(object_score - scored.object_score))
    if not difference <= TOLERANCE:
        raise DataError(
            f"{path}: its scores differ by {difference:.2g} from PyTorch's; expected at most "
            f"{TOLERANCE:g}. Do not use it, and report this with the versions of torch and onnx"
        )
    return difference


def farthest_points_by_scan(points: Tensor, count: int, skip_origin: bool) -> Tensor:
    """Sample points [N, 3] as `farthest_point_sample` does, in one loop of the graph: [count]."""
    from torch._higher_order_ops.scan import scan  # not public yet; the exporter knows no other

    def step(carry: list[Tensor], _: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        nearest, row = carry
        x, y, z = (points - points.index_select(0, row.reshape(1))).unbind(1)
        nearest = torch.minimum(nearest, x * x + y * y + z * z)
        return [nearest, nearest.argmax(0)], [row.clone()]

    nearest = torch.full_like(points[:, 0], torch.inf)
    if skip_origin:
        nearest = torch.where((points * points).sum(1) <= ORIGIN_SQUARED_NORM, -1.0, nearest)
    first = torch.zeros((), dtype=torch.int64)
    _, (rows,) = scan(step, [nearest, first], [points.new_zeros(count, 1)])
    return rows


def _about(inspector: Inspector) -> str:
    surface = f", surface float32 [1, {inspector.n_points}, {CHANNELS}] of btp.geometry"
    return (
        f"BTP detector {inspector.digest}. Takes points float32 [1, {inspector.n_points}, 3], "
        "centred, in the unit sphere, by farthest point sampling"
        f"{surface if inspector.reads_channels else ''}. Gives point_scores and object_score."
    )


def _require(*packages: str) -> None:
    from importlib.util import find_spec

    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)}: not installed; an ONNX export needs the extra `onnx`: "
            "pip install -e '.[onnx]' in the project's folder"
        )
