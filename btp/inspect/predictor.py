"""Score a person's own scans: `btp.load(...)`, `detector.predict(...)`."""

from __future__ import annotations

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from typing import Any, overload

import torch
from numpy.typing import NDArray

from btp.data.coverage import Coverage
from btp.data.scan_objects import Scan, given_scans
from btp.errors import WeightsError
from btp.inspect.reference import GoodScans
from btp.inspect.scan_model import COVERAGE, ScanModel
from btp.inspect.together import remember, score_together
from btp.models.checkpoint import load_detector
from btp.models.point_language import PointLanguageModel
from btp.runtime.files import file_digest
from btp.runtime.own_files import command_line, own_file
from btp.runtime.processor import chosen_device
from btp.types import Prediction

__all__ = ["COVERAGE", "Inspector", "calibration_path", "detector_path", "load"]

CHECKPOINTS = own_file("checkpoints")


class Inspector(ScanModel):
    """A trained detector with its encoder: scans in, scores for every point out."""

    @overload
    def predict(
        self,
        scans: str | PathLike[str] | NDArray | torch.Tensor,
        coverage: Coverage = ...,
        *,
        reference: Iterable[Scan] | GoodScans | None = ...,
        progress: bool = ...,
    ) -> Prediction: ...

    @overload
    def predict(
        self,
        scans: list[Any],
        coverage: Coverage = ...,
        *,
        together: bool = ...,
        reference: Iterable[Scan] | GoodScans | None = ...,
        progress: bool = ...,
    ) -> list[Prediction]: ...

    @overload
    def predict(
        self,
        scans: Scan | Iterable[Scan],
        coverage: Coverage = ...,
        *,
        together: bool = ...,
        reference: Iterable[Scan] | GoodScans | None = ...,
        progress: bool = ...,
    ) -> Any: ...

    def predict(
        self,
        scans: Scan | Iterable[Scan],
        coverage: Coverage = COVERAGE,
        *,
        together: bool = False,
        reference: Iterable[Scan] | GoodScans | None = None,
        progress: bool = False,
    ) -> Any:
        """Score one scan or several, each alone, by one another, or against good scans.

        Args:
            scans: the path of a file of any readable format; numbers [R, 3] in any unit, as an
                array, a tensor or rows; a cloud or mesh of trimesh or Open3D; or several of these
                in any iterable.
            coverage: "sampled" scores `n_points` of each scan. "dense" scores four times as many,
                in samplings that are scored one by one and averaged, and takes three times as long.
            together: judge the scans of a list by one another: what recurs in other scans of the
                same part is normal. A defect that most of them share is then normal too. Scans
                that are not evidently of one part are judged alone.
            reference: good scans of the same part and in the same units, or what `remember` made
                of them. A scan whose extents agree with none of them is judged alone.
            progress: show on standard error how many scans are done, and the time left.

        Returns:
            A `Prediction`, or for several scans a list of them. Each has one score for every
            point, in the scan's order, and nan for rows that are no measured points; and says how
            it was judged.

        Raises:
            DataError: if a scan cannot be read or used, or if none agrees with the good ones; the
                message names it.
            ConfigError: if `coverage` is neither "sampled" nor "dense", there are too few scans to
                judge one another, or the good ones were described by another detector.
        """
        several, single = given_scans(scans)
        if reference is not None and not isinstance(reference, GoodScans):
            reference = self.remember(reference, coverage, progress)
        if together or reference is not None:
            scored = score_together(self, several, coverage, together, reference, progress)
        else:
            prepared = self.prepared(several, coverage, "scoring" if progress else None)
            scored = [one for ready in prepared for one in self.score(ready)]
        predictions = [
            Prediction(s.scan.name, s.point_scores, s.object_score, s.repeated, s.spacing, s.judged)
            for s in scored
        ]
        return predictions[0] if single else predictions

    def remember(
        self, scans: Iterable[Scan], coverage: Coverage = COVERAGE, progress: bool = False
    ) -> GoodScans:
        """Describe good scans once, for many calls of `predict`.

        Raises:
            DataError: if a scan cannot be read or used.
            ConfigError: if there is none, or `coverage` is unknown.
        """
        return remember(self, given_scans(scans)[0], coverage, progress)


def load(
    detector: str | Path = "mini",
    device: torch.device | str = "auto",
    bfloat16: bool | None = None,
) -> Inspector:
    """Load a detector that can score any scan.

    Args:
        detector: path of a file that scripts/train.py wrote; or the name of a detector that comes
            with the project, a folder in checkpoints/.
        device: to run on; "auto" is CUDA where there is one, and else the CPU.
        bfloat16: as in `Inspector`.

    Raises:
        WeightsError: if there is no such detector, or its encoder's weights have changed since.
        ConfigError: if the device cannot be used here.
    """
    chosen = chosen_device(device)
    path = detector_path(detector)
    trained = load_detector(path)
    encoder, about = trained.encoder, trained.about
    model = PointLanguageModel(encoder, chosen)
    if about["encoder_fingerprint"] != model.fingerprint:
        raise WeightsError(
            f"{path}: was trained on encoder {encoder.name} {about['encoder_fingerprint']}, and "
            f"its weights are now {model.fingerprint}; train again, or restore them"
        )
    return Inspector(trained.detector, model, about["n_points"], file_digest(path), bfloat16)


def detector_path(detector: str | Path) -> Path:
    """Return the path of a detector's file.

    Args:
        detector: as in `load`.

    Raises:
        WeightsError: if there is no such detector.
    """
    path = Path(detector).expanduser()
    if not path.is_file():
        path = CHECKPOINTS / str(detector) / "detector.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"{detector}: neither a detector's file nor a name in {CHECKPOINTS}; train one with "
            f"`{command_line('train')}` and give the path that it prints"
        )
    return path


def calibration_path(detector: str | Path, given: str | Path | None = None) -> Path:
    """Return the path of a detector's alarm thresholds: as given, or else beside the detector.

    Those of a detector that comes with the project are in the working folder, in outputs/: the
    package may be anywhere, and may not be writable.

    Raises:
        WeightsError: if there is no such detector.
    """
    if given is not None:
        return Path(given).expanduser()
    path = detector_path(detector)
    if not Path(detector).expanduser().is_file():
        return Path("outputs") / f"{path.parent.name}.calibration.json"
    return path.with_suffix(".calibration.json")
