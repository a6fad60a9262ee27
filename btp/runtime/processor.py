"""Matrix products at the processor's full width."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch

_CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def use_full_width() -> bool:
    """Let oneDNN multiply float32 matrices where that is twice as fast and as precise as MKL.

    MKL, which PyTorch's wheels use, keeps to 256-bit instructions on processors that are not
    Intel's; oneDNN takes 512-bit ones, and PyTorch offers it under the name of its 16-bit mode. On
    processors with 16-bit matrix units that mode really rounds, so a product is tried first.

    Returns:
        Whether oneDNN is now used. It stays so, once for the process: the choice depends on the
        processor alone, never on a clock, so that the same seed gives the same digits.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not _is_amd():
        return False
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    if _error() > 2e-6:
        matmul.fp32_precision = before
        return False
    return True


@functools.cache
def multiplies_in_16_bit() -> bool:
    """Whether this processor has instructions for bfloat16 products, at twice the speed."""
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def _is_amd() -> bool:
    return _CPUINFO.is_file() and "AuthenticAMD" in _CPUINFO.read_text()


def _error() -> float:
    """Of a float32 product, relative to its largest entry; rounded to 16 bit it were 1e-3."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 256, 256, generator=generator)
    exact = a.double() @ b.double()
    return float(((a @ b) - exact).abs().max() / exact.abs().max())
