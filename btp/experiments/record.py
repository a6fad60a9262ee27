"""What is kept of a scored run or baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from btp.types import N_POINTS


@dataclass(frozen=True)
class Result:
    """The stored result of one run or baseline.

    Attributes:
        folder: of the run, as it is printed.
        about: the JSON line.
    """

    folder: str
    about: Mapping[str, Any] = field(repr=False)

    @property
    def train_cat(self) -> str | None:
        """None for a baseline that is not trained."""
        return self.about["train_cat"]

    @property
    def seed(self) -> int:
        """Of the training."""
        return int(self.about["seed"])

    @property
    def n_points(self) -> int:
        """Sampled from each scan."""
        return int(self.about.get("n_points", N_POINTS))

    @property
    def variant(self) -> str:
        """Row of Table 4."""
        return str(self.about["recipe"].get("variant", "full"))

    @property
    def categories(self) -> Mapping[str, Mapping[str, float]]:
        """Test category -> metrics."""
        return self.about["categories"]
