"""A function's CUDA kernels recorded once and played again, in one launch."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[..., tuple[Tensor, ...]]


class Captured:
    """Calls a function of CUDA tensors through a CUDA graph for each combination of shapes.

    The function must do the same kernels for the same shapes, and never wait for the device. On
    other devices, and where it cannot be recorded, it is called as it is.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self._graphs: dict[tuple[torch.Size, ...], _Graph] = {}
        self._fails = False

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what the function returns; the next call does not overwrite it."""
        if self._fails or not all(tensor.is_cuda for tensor in inputs):
            return self.function(*inputs)
        shapes = tuple(tensor.shape for tensor in inputs)
        if shapes not in self._graphs:
            try:
                self._graphs[shapes] = _Graph(self.function, inputs)
            except RuntimeError as error:
                self._fails = True
                warnings.warn(f"not recorded as a CUDA graph, so slower: {error}", stacklevel=2)
                return self.function(*inputs)
        return self._graphs[shapes].play(inputs)


class _Graph:
    def __init__(self, function: Function, inputs: tuple[Tensor, ...]) -> None:
        self.inputs = [tensor.clone() for tensor in inputs]
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # what is made on first use must not be recorded
            for _ in range(2):
                function(*self.inputs)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.outputs = function(*self.inputs)

    def play(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for own, given in zip(self.inputs, inputs, strict=True):
            own.copy_(given)
        self.graph.replay()
        return tuple(output.clone() for output in self.outputs)
