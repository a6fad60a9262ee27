"""Farthest point sampling on CUDA in one launch: a block of threads a cloud, the loop inside it.

As PyTorch operations each of the k steps is some ten launches, which take longer than their work.
Triton comes with PyTorch's CUDA builds; only `btp.geometry.sampling` imports this file.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

LARGEST = 16384  # points of a cloud that one block can keep in its registers


def sample(points: Tensor, k: int, start: int, least: float) -> Tensor:
    """Choose the rows of `farthest_point_sample` in the same order, ties included.

    Args:
        points: float32 [B, N, 3], N at most `LARGEST`.
        k: points to choose.
        start: row chosen first.
        least: points of no larger squared norm are never chosen but for `start`; negative: all may.

    Returns:
        int64 [B, k].
    """
    batch, n, _ = points.shape
    planes = points.transpose(1, 2).contiguous()  # [B, 3, N], so that threads read side by side
    chosen = torch.empty(batch, k, dtype=torch.int64, device=points.device)
    block = triton.next_power_of_2(n)
    warps = min(16, max(1, block // 256))
    _farthest[(batch,)](planes, chosen, n, k, start, least, BLOCK=block, num_warps=warps)
    return chosen


# A start of 1 would else become a constant, and change its type in the loop.
@triton.jit(do_not_specialize=["start"])  # type: ignore[untyped-decorator]
def _farthest(planes, chosen, n, k, start, least, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    cloud = tl.program_id(0).to(tl.int64)
    at = planes + cloud * 3 * n
    rows = tl.arange(0, BLOCK)
    real = rows < n
    x = tl.load(at + rows, mask=real, other=0.0)
    y = tl.load(at + n + rows, mask=real, other=0.0)
    z = tl.load(at + 2 * n + rows, mask=real, other=0.0)
    may = real & (x * x + y * y + z * z > least)
    nearest = tl.where(may, float("inf"), -1.0)  # squared distance to the chosen set
    row = start
    for step in range(k):
        tl.store(chosen + cloud * k + step, row)
        dx = x - tl.load(at + row)
        dy = y - tl.load(at + n + row)
        dz = z - tl.load(at + 2 * n + row)
        nearest = tl.minimum(nearest, dx * dx + dy * dy + dz * dz)
        row = tl.argmax(nearest, axis=0, tie_break_left=True)
