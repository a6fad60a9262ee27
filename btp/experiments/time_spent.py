"""Where the time of a campaign went."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from btp.features.cache import CachedStore

ENCODING, FEATURES = "encoding", "features (preparing, loading)"


@dataclass
class TimeSpent:
    """Seconds of a campaign by kind of work.

    Attributes:
        spent: seconds by kind of work.
        started: by the clock of `time.monotonic`.
    """

    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    started: float = field(default_factory=time.monotonic)

    @contextmanager
    def on(self, kind: str, store: CachedStore) -> Iterator[None]:
        """Count a block as this kind of work, but for what its store spends on features."""
        loaded, encoded, started = store.seconds, store.encoding_seconds, time.monotonic()
        try:
            yield
        finally:
            loading, encoding = store.seconds - loaded, store.encoding_seconds - encoded
            self.spent[ENCODING] += encoding
            self.spent[FEATURES] += loading - encoding
            self.spent[kind] += time.monotonic() - started - loading

    def __str__(self) -> str:
        total = max(time.monotonic() - self.started, 1e-9)
        parts = {kind: self.spent[kind] for kind in ("training", "scoring", ENCODING, FEATURES)}
        parts["other"] = total - sum(parts.values())
        shares = ", ".join(f"{name} {100 * spent / total:.0f} %" for name, spent in parts.items())
        return f"{total:.0f} s: {shares}"
