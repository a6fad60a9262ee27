"""Work in pieces of a bounded size."""

from __future__ import annotations

from collections.abc import Iterator


def batches(n: int, size: int) -> Iterator[slice]:
    """Yield slices of at most `size` that cover range(n) in order."""
    return (slice(i, min(i + size, n)) for i in range(0, n, size))
