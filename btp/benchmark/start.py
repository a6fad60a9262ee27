"""From nothing to the first score: all of OpenCLIP built, against what scoring needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from btp.benchmark.settings import Settings
from btp.benchmark.table import Goal, Row
from btp.benchmark.workload import make
from btp.errors import ConfigError
from btp.models.checkpoint import Trained, save_detector

_MEASURE = """
import json, sys, time
began = time.perf_counter()
def peak():
    try:  # not getrusage: its figure holds what the parent had before this process began
        status = open("/proc/self/status").read()
    except OSError:
        return None
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
laps, peaks = [], []
def lap():
    laps.append(time.perf_counter())
    peaks.append(peak())
def report(**values):
    ends = [began, *laps]
    print(json.dumps({"laps": [b - a for a, b in zip(ends, ends[1:])], "peaks": peaks, **values}))
"""

# Laps: imports; point encoder; OpenCLIP with one in `share` of its layers; prompts; first score.
_PLAIN = """
from btp.runtime.torchvision_shim import ensure_importable
ensure_importable()
import copy
import numpy as np, torch, open_clip
from btp.benchmark.released_model import encode
from btp.models.checkpoint import load_detector
from btp.models.point_language import PointLanguageModel
path, points, clip, share = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
lap()
trained = load_detector(path)
model = PointLanguageModel(trained.encoder).points
lap()
config = open_clip.get_model_config(clip)
config.pop("custom_text", None)
fresh = copy.deepcopy(config)
parts = [config["vision_cfg"], config["text_cfg"]]
for part in parts:
    part["layers"] = max(1, part["layers"] // share)
tower = open_clip.CLIP(**config).eval()
lap()
tokens = open_clip.get_tokenizer(clip)(["normal .", "defective ."])
lap()
with torch.no_grad():
    tower.encode_text(tokens)
lap()
with torch.no_grad():
    scores = trained.detector(encode(model, torch.from_numpy(np.load(points))[None]))
lap()
with torch.device("meta"):
    whole = open_clip.CLIP(**fresh)
counts = [sum(p.numel() for p in m.parameters()) for m in (tower, whole)]
report(score=float(scores.object_scores[0]), parameters=counts)
"""

_OURS = """
import numpy as np, torch
import btp
from btp.data.prepare import prepare
from btp.models.fast import for_encoding, for_scoring
from btp.runtime.processor import use_full_width
use_full_width()
path, points = sys.argv[1], sys.argv[2]
lap()
inspector = btp.load(path)
encoder, detector = for_encoding(inspector.model), for_scoring(inspector.detector)
lap()
with torch.inference_mode():
    scores = detector(encoder.encode(torch.from_numpy(np.load(points))[None]))
lap()
report(score=float(scores.object_scores[0]))
"""
CLIP = "ViT-bigG-14"


def rows(settings: Settings) -> Iterator[Row]:
    """Measure from start to first score, each side in a process of its own."""
    import numpy as np

    work = make(settings, settings.encoders[0], 1)
    with tempfile.TemporaryDirectory() as folder:
        detector, points = Path(folder) / "detector.safetensors", Path(folder) / "points.npy"
        weights = Path(folder) / "points.safetensors"
        _write_weights(weights, work.model.points.state_dict())
        encoder = replace(work.model.config, point_weights=str(weights))
        model = type(work.model)(encoder)
        about = {"n_points": settings.n_points, "encoder_fingerprint": model.fingerprint}
        save_detector(detector, Trained(work.detector.cpu(), encoder, about, work.recipe, None))
        np.save(points, work.data.features.points[0].numpy())
        runs = [_both(detector, points, settings.clip_share) for _ in range(settings.slow_repeats)]
    plain, ours = (sorted((run[i] for run in runs), key=_seconds) for i in (0, 1))
    yield _row(plain[len(plain) // 2], ours[len(ours) // 2], len(runs), settings.clip_share)


def _row(plain: dict, ours: dict, runs: int, share: int) -> Row:
    times, peaks = plain["laps"], plain["peaks"]
    built, whole = plain["parameters"]
    size = whole / built
    seconds = sum(times) + times[2] * (size - 1) + times[4] * (share - 1)
    memory = None
    if None not in (*peaks, *ours["peaks"]):
        memory = peaks[1] + (max(peaks[2:]) - peaks[1]) * size
    return Row(
        section="start",
        what="to the first score of a sampled cloud, ULIP-2's sizes, a fresh process",
        plain=seconds,
        ours=sum(ours["laps"]),
        plain_mb=None if memory is None else memory / 1e6,
        ours_mb=None if memory is None else max(ours["peaks"]) / 1e6,
        runs=runs,
        goal=Goal(ratio=5, memory=1 / 5),
        difference=abs(plain["score"] - ours["score"]),
        tolerance=2e-3,
        note=(
            f"plain: OpenCLIP {CLIP} built with random weights and 1/{share} of its layers, "
            f"{built:,} of {whole:,} parameters, {times[2]:.3g} s, time and memory × {size:.3g}; "
            f"its prompts encoded, {times[4]:.3g} s, × {share}; reading its 10 GB is not counted. "
            f"Ours, {sum(ours['laps']):.3g} s: a trained detector's file holds the prompts' "
            "embeddings, so no text tower is needed. Memory: all of the process"
        ),
    )


def _both(detector: Path, points: Path, share: int) -> tuple[dict, dict]:
    plain = run_child(_MEASURE + _PLAIN, detector, points, CLIP, str(share))
    return plain, run_child(_MEASURE + _OURS, detector, points)


def run_child(code: str, *arguments: object) -> dict:
    """Run code in a fresh Python process; return what its last line says, as JSON.

    Raises:
        ConfigError: if the process fails.
    """
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    if ended.returncode:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise ConfigError(
            f"the start could not be measured: its process ended with {ended.returncode} ({last}); "
            "expected 0. Where memory is short, raise clip_share"
        )
    return json.loads(ended.stdout.strip().splitlines()[-1])


def _seconds(run: dict) -> float:
    return float(sum(run["laps"]))


def _write_weights(path: Path, state: dict) -> None:
    from safetensors.torch import save_file

    save_file({name: tensor.cpu().contiguous() for name, tensor in state.items()}, str(path))
