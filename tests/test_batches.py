"""Work in pieces covers all of it, once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from btp.runtime.batches import batches


@given(n=st.integers(0, 50), size=st.integers(1, 20))
def test_batches_cover_everything_once(n: int, size: int) -> None:
    rows = [row for chunk in batches(n, size) for row in range(n)[chunk]]
    assert rows == list(range(n))
