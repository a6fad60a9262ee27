"""A function recorded as a CUDA graph gives what the function gives."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from btp.runtime.cuda_graph import Captured

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def double(x: Tensor) -> tuple[Tensor, ...]:
    return (2 * x, x.sum(0))


def test_on_cpu_the_function_itself_is_called() -> None:
    calls = []

    def spy(x: Tensor) -> tuple[Tensor, ...]:
        calls.append(x)
        return double(x)

    captured = Captured(spy)
    for value in (torch.ones(2, 3), torch.ones(4, 3)):
        assert captured(value)[0].equal(2 * value)
    assert [len(x) for x in calls] == [2, 4]


@pytest.mark.cuda
@needs_cuda
def test_a_recorded_function_follows_its_inputs_and_gives_fresh_outputs() -> None:
    captured = Captured(double)
    made = [(x, captured(x)) for x in torch.randn(3, 5, 4, device="cuda")]
    made.append((x := torch.randn(2, 4, device="cuda"), captured(x)))
    for x, outputs in made:
        for found, expected in zip(outputs, double(x), strict=True):
            assert torch.equal(found, expected)


@pytest.mark.cuda
@needs_cuda
def test_a_function_that_cannot_be_recorded_is_called_with_a_warning() -> None:
    def waits(x: Tensor) -> tuple[Tensor, ...]:
        return (x * float(x.sum()),)

    captured = Captured(waits)
    x = torch.randn(3, device="cuda")
    with pytest.warns(UserWarning, match="not recorded"):
        first = captured(x)
    assert torch.equal(first[0], waits(x)[0])
    assert torch.equal(captured(x)[0], waits(x)[0])
