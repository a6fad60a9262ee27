"""Keep good scans on disk, described as others are compared with them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save

from btp.errors import ConfigError, DataError, WeightsError
from btp.evaluation.patch_distances import COMPARED_SAMPLINGS, DescribedScan
from btp.evaluation.together import MOST_OTHERS, choose
from btp.runtime.files import write_bytes
from btp.runtime.own_files import command_line
from btp.weights.state_dict import read_safetensors

FORMAT = "1"
AGAIN = f"make it again: {command_line('calibrate', 'normal=DIR', 'detector=...')}"


@dataclass(frozen=True)
class GoodScans:
    """Good scans of one part, described by one detector's encoder.

    Attributes:
        detector: digest of the detector's file.
        coverage: with which they were sampled.
        scans: at least one.
    """

    detector: str
    coverage: str
    scans: tuple[DescribedScan, ...]

    def check(self, detector: str, coverage: str) -> None:
        """Refuse another detector or coverage.

        Raises:
            ConfigError: if either differs.
        """
        if self.detector != detector:
            raise ConfigError(
                f"the good scans were described with the detector {self.detector}, and this one is "
                f"{detector}; {AGAIN}"
            )
        if self.coverage != coverage:
            raise ConfigError(
                f"the good scans were sampled with coverage={self.coverage}, and these are with "
                f"{coverage}; use the same, or {AGAIN}"
            )


def another_part(which_agree: str) -> DataError:
    """Return the error for good scans that are not of the part to be judged.

    Args:
        which_agree: of which scans the extents agree with none, as "the extents of none ...".
    """
    return DataError(
        f"the reference is of another part: {which_agree} within 3 %. Give good scans of this "
        "part, in the same units and seen from all sides"
    )


def reference_path(calibration: Path) -> Path:
    """Return the path of the good scans that belong to alarm thresholds: beside them."""
    return calibration.with_suffix(".safetensors")


def write_good_scans(path: Path, good: GoodScans, seed: int = 0) -> int:
    """Write the descriptors of at most `MOST_OTHERS` good scans as safetensors.

    Returns:
        The number of bytes written.
    """
    kept = choose(good.scans, MOST_OTHERS, seed)
    tensors = {
        f"{number}.{name}": tensor
        for number, scan in enumerate(kept)
        for name, tensor in scan.tensors(COMPARED_SAMPLINGS).items()
    }
    about = {
        "format": FORMAT,
        "detector": good.detector,
        "coverage": good.coverage,
        "digests": " ".join(scan.digest for scan in kept),
    }
    content = save(tensors, metadata=about)
    write_bytes(path, content)
    return len(content)


def read_good_scans(path: Path, detector: str) -> GoodScans:
    """Read what `write_good_scans` wrote.

    Args:
        path: of the file.
        detector: digest of the detector that it will be used with.

    Raises:
        WeightsError: if the file is missing, damaged, or was made with another detector.
    """
    try:
        about, tensors = read_safetensors(path)
        scans = [
            DescribedScan.from_tensors(digest, own_tensors(tensors, f"{number}."))
            for number, digest in enumerate(about["digests"].split())
        ]
        good = GoodScans(about["detector"], about["coverage"], tuple(scans))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file; {AGAIN}") from error
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise WeightsError(f"{path}: no good scans of this program ({error}); {AGAIN}") from error
    if good.detector != detector:
        raise WeightsError(
            f"{path}: was made with the detector {good.detector}, and this one is {detector}; "
            f"descriptors hold for one detector only; {AGAIN}"
        )
    return good


def own_tensors(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names have a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
