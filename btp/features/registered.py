"""FPFH of scans that are registered to a normal scan of their category, kept in the store."""

from __future__ import annotations

import numpy as np
import torch

from btp.features.entries import Entry, ScanEntries, entry_path, find_entry, fpfh_entry
from btp.geometry.fpfh import DENSE_POINTS, NORMAL_SPACINGS, spacing
from btp.geometry.planes import Floats
from btp.geometry.registration import register
from btp.types import Prepared


def registered_fpfh(
    scan: ScanEntries, template: ScanEntries, radii: tuple[float, float] | None = None
) -> Entry:
    """Return FPFH [N, 33] of a scan's sampled points as `ScanEntries.point_fpfh`, in another pose.

    FPFH depends on the pose because the signs of its normals do: they are not made consistent.

    Args:
        scan: to describe.
        template: normal scan that it is registered to first.
        radii: for normals and features, in the scans' own unit; None for multiples of the scan's
            point spacing.

    Raises:
        ConfigError: if Open3D does not import.
    """

    def make() -> Entry:
        rotation = pose(scan, template, radii)[:3, :3]  # no descriptor depends on the shift
        turned = scan.prepared.dense @ rotation.T.astype(np.float32)
        return fpfh_entry(scan.prepared, turned, radii)

    key = scan.key, template.digest, radii
    return find_entry(entry_path(scan.root, "fpfh-registered", *key), make)


def pose(
    scan: ScanEntries, template: ScanEntries, radii: tuple[float, float] | None = None
) -> Floats:
    """Return the rotation and shift [4, 4] that move a scan onto a template, both centred.

    Args:
        scan: to register.
        template: to register it to.
        radii: as in `registered_fpfh`; half that for normals is the registration's scale, as in the
            Real3D-AD benchmark.

    Raises:
        ConfigError: if Open3D does not import.
    """

    def make() -> Entry:
        moved, fixed = scan.prepared, template.prepared
        given = _normal_radius(fixed) if radii is None else radii[0]
        points = moved.dense * moved.scale, fixed.dense * fixed.scale
        found = register(*points, edge=given / 2, seed=scan.seed)
        return {"pose": torch.from_numpy(found)}

    if scan.digest == template.digest:
        return np.eye(4)
    key = scan.digest, template.digest, scan.seed, None if radii is None else radii[0]
    entry = find_entry(entry_path(scan.root, "poses", *key), make)
    return np.asarray(entry["pose"], dtype=np.float64)


def _normal_radius(template: Prepared) -> float:
    """The radius for normals, in the scan's unit, that `dense_fpfh` takes from the spacing."""
    dense = template.dense
    if len(dense) > DENSE_POINTS:
        dense = np.random.default_rng(0).choice(dense, DENSE_POINTS, replace=False)
    return NORMAL_SPACINGS * spacing(dense) * template.scale
