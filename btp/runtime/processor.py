"""Which device works, and what it multiplies quickly: float32 at full width, 16 bit if it can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from btp.errors import ConfigError

_CPUINFO = Path("/proc/cpuinfo")


def use_full_width() -> bool:
    """Let oneDNN multiply float32 matrices in this process, where that is twice as fast.

    This changes PyTorch for the whole process (`torch.backends.mkldnn.matmul.fp32_precision`), so
    programs may call it, as those in scripts/ do, and the library never does.

    MKL, which PyTorch's wheels use, keeps to 256-bit instructions on processors that are not
    Intel's; oneDNN takes 512-bit ones, as precisely, and PyTorch offers it under the name of its
    16-bit mode. On processors with 16-bit matrix units that mode really rounds, so a product is
    tried first. The choice depends on the processor alone, never on a clock, so that the same seed
    gives the same digits.

    Returns:
        Whether oneDNN is used from now on.
    """
    if torch.backends.cpu.get_cpu_capability() != "AVX512" or not is_amd():
        return False
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    if product_error() > 2e-6:
        matmul.fp32_precision = before
        return False
    return True


def chosen_device(device: torch.device | str) -> torch.device:
    """Return a device that can be used here; "auto" is CUDA where there is one, and else the CPU.

    Raises:
        ConfigError: if there is no such device, or it cannot be used here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device is {str(device)!r}, which cannot be used here "
            f"({str(error).splitlines()[0]}); use device=cpu or device=auto"
        ) from error
    return chosen


def multiplies_in_16_bit(device: torch.device) -> bool:
    """Return whether a device has instructions for bfloat16 products, at twice the speed or more.

    This is what `bfloat16: auto` means wherever speed was asked for.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))


def gains_by_rounding(device: torch.device) -> bool:
    """Return whether an encoder is faster on a device if it is rounded (`fast.accelerated`)."""
    return device.type == "cpu" and multiplies_in_16_bit(device)


def is_amd() -> bool:
    """Return whether the processor is AMD's, as far as Linux tells."""
    return _CPUINFO.is_file() and "AuthenticAMD" in _CPUINFO.read_text()


def product_error() -> float:
    """Measure a float32 product's error, relative to its largest entry; 1e-3 if it is rounded."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 256, 256, generator=generator)
    exact = a.double() @ b.double()
    return float(((a @ b) - exact).abs().max() / exact.abs().max())
