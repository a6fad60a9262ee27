"""Scans for the viewer's tests: a ball with a defective cap, and a hostile name."""

from __future__ import annotations

import numpy as np

from btp.drawing.viewer import ViewedScan

HOSTILE = '</script><b>"ü & <!--scans-->.ply'
SPOT = np.array([1.0, 0.0, 0.0])


def ball(name: str, height: float, count: int = 4000, spot: np.ndarray = SPOT) -> ViewedScan:
    """A ball of radius 50 around (1000, 0, 0): a cap is defective and scores up to `height`."""
    directions = np.random.default_rng(0).normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    angle = np.arccos(np.clip(directions @ spot, -1, 1))
    scores = (height * np.exp(-((angle / 0.3) ** 2))).astype(np.float32)
    elsewhere = np.arccos(np.clip(directions @ -spot, -1, 1))
    other = (40 * np.exp(-((elsewhere / 0.3) ** 2))).astype(np.float32)
    return ViewedScan(
        name=name,
        category="ball",
        points=(50 * directions + [1000, 0, 0]).astype(np.float32),
        scores={"mini": scores, "PatchCore": other},
        object_scores={"mini": height, "PatchCore": float(other.max())},
        labels=angle < 0.25,
        regions=np.where(scores > 0.5, 0, -1),
        threshold=0.5,
        decision="DEFECT" if height > 0.5 else "OK",
    )
