"""Float32 products stay float32, whichever library multiplies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from btp.runtime import processor as cpu

MATMUL: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


@pytest.fixture
def untouched() -> Iterator[None]:
    """As in a new process; put back afterwards."""
    before = MATMUL.fp32_precision
    MATMUL.fp32_precision = "ieee"
    yield
    MATMUL.fp32_precision = before


def test_products_are_as_precise_as_before(untouched: None) -> None:
    before = cpu.product_error()
    cpu.use_full_width()
    assert cpu.product_error() < max(2e-6, 4 * before)


def test_a_processor_that_rounds_to_16_bit_is_left_alone(
    untouched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "is_amd", lambda: True)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(cpu, "product_error", lambda: 1e-3)
    assert not cpu.use_full_width()
    assert MATMUL.fp32_precision == "ieee"
    monkeypatch.setattr(cpu, "product_error", lambda: 1e-6)
    assert cpu.use_full_width()
    assert MATMUL.fp32_precision == "bf16"


def test_the_measure_would_see_16_bit() -> None:
    assert cpu.product_error() < 2e-6
    with torch.autocast("cpu", torch.bfloat16):
        assert cpu.product_error() > 2e-6
