"""The CUDA kernel of farthest point sampling, run by Triton's interpreter on CPU, and on CUDA."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from btp.geometry.sampling import farthest_point_sample

SCRIPT = """
import sys, torch
from btp.geometry.fps_triton import sample
cases = torch.load(sys.argv[1])
torch.save([sample(*case) for case in cases], sys.argv[1])
"""


def cases() -> list[tuple[torch.Tensor, int, int, bool]]:
    """Clouds on a grid, with many ties and repeated points, and random ones; k as large as N."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for n, k, start, skip in ((40, 30, 0, False), (64, 20, 1, True), (50, 50, 7, True)):
        made.append((torch.randint(-2, 3, (3, n, 3), generator=generator).float(), k, start, skip))
        points = torch.randn(2, n, 3, generator=generator)
        points[0, 3:9] *= 1e-3  # some near the origin
        made.append((points, k, start, skip))
    return made


@pytest.mark.skipif(
    importlib.util.find_spec("triton") is None,
    reason="Triton comes with PyTorch's CUDA builds only; pip install triton (690 MB) to run this",
)
def test_the_interpreted_kernel_chooses_the_same_rows(tmp_path: Path, repository: Path) -> None:
    given = [(points, k, start, 1e-3 if skip else -1.0) for points, k, start, skip in cases()]
    torch.save(given, tmp_path / "cases.pt")
    path = os.pathsep.join([str(repository), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "cases.pt")],
        env=os.environ | {"TRITON_INTERPRET": "1", "PYTHONPATH": path},
        check=True,
    )
    for case, rows in zip(cases(), torch.load(tmp_path / "cases.pt"), strict=True):
        assert torch.equal(rows, farthest_point_sample(*case))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_kernel_on_cuda_chooses_the_same_rows() -> None:
    for points, *rest in [*cases(), (torch.randn(8, 2048, 3), 512, 0, True)]:
        on_cuda = farthest_point_sample(points.cuda(), *rest).cpu()
        assert torch.equal(on_cuda, farthest_point_sample(points, *rest))
