"""How memories of normal scans describe a scan, where the command line may choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from btp.errors import ConfigError
from btp.geometry.registration import Registration

Radii = tuple[float, float]
"""Radii of the neighbourhoods for FPFH's normals and features, in the scans' own unit."""


@dataclass(frozen=True)
class MemoryOptions:
    """What a command line may choose of the memories that describe points by FPFH.

    Attributes:
        fpfh_radii: of FPFH; None for multiples of each scan's point spacing.
        registration: "open3d" moves every scan onto its category's first normal scan before it is
            described; "none" leaves it as it lies.
    """

    fpfh_radii: Radii | None = None
    registration: Registration = "none"

    def __post_init__(self) -> None:
        if self.registration not in get_args(Registration):
            expected = " or ".join(get_args(Registration))
            raise ConfigError(f"registration is {self.registration!r}; expected {expected}")

    @property
    def label(self) -> str:
        """Suffix of a record's folder that lists the options that are not the usual ones."""
        radii = self.fpfh_radii
        label = "" if radii is None else ",fpfh_radii={:g}-{:g}".format(*radii)
        return label + ("" if self.registration == "none" else f",registration={self.registration}")

    @property
    def words(self) -> list[str]:
        """Settings of a command line that choose these options."""
        radii = self.fpfh_radii
        words = [] if radii is None else ["fpfh_radii=[{:g},{:g}]".format(*radii)]
        return words + (
            [] if self.registration == "none" else [f"registration={self.registration}"]
        )


USUAL = MemoryOptions()
"""No option chosen."""


def check_radii(given: Sequence[float] | None) -> Radii | None:
    """Return a setting of FPFH's radii as it is kept.

    Raises:
        ConfigError: if it is not two positive numbers, the smaller first.
    """
    if given is None:
        return None
    numbers = [value for value in given if isinstance(value, int | float)]
    if len(numbers) != len(given) or len(given) != 2 or not 0 < numbers[0] <= numbers[1]:
        raise ConfigError(
            f"fpfh_radii is {list(given)}; expected two positive numbers in the scans' units, the "
            "normals' first, such as [1.0,2.5], or null"
        )
    return float(given[0]), float(given[1])
