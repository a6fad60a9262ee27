"""A detector applied to scans: reading and sampling them, encoding, scores of every point."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from btp.data.coverage import Coverage, cover
from btp.data.prepare import prepare
from btp.data.reading import read_scan
from btp.data.scan_objects import Scan, given_bytes
from btp.evaluation.patch_distances import DescribedScan, describe_patches
from btp.geometry.local_geometry import local_geometry, surface_channels
from btp.geometry.neighbours import nearest_rows
from btp.inspect.scan import ReadyScan, ScoredScan, average_samplings
from btp.models.detector import Detector
from btp.models.fast import for_encoding, for_scoring
from btp.models.point_language import PointLanguageModel
from btp.runtime.batches import batches
from btp.runtime.cuda_graph import Captured
from btp.runtime.processor import gains_by_rounding
from btp.runtime.progress import Progress
from btp.runtime.threads import BYTES_IN_WORK, core_count, map_within
from btp.types import N_POINTS, Cloud, Features, Scores

BATCH = 8
COVERAGE: Coverage = "dense"
"""The default. On synthetic defects of 0.2 to 0.5 % of a scan,
dense found more with `mini` (AU-PRO 61 for 57 % at 26 k points, 60 for 54 % at 100 k) for three
times the work of preparing and scoring, which is less than a picture costs."""


class ScanModel:
    """A trained detector with its encoder: scans in, scores for every point out.

    Attributes:
        precision: of the products: "float32", "bfloat16", or "rounded" (`fast.accelerated`).
    """

    def __init__(
        self,
        detector: Detector,
        model: PointLanguageModel,
        n_points: int = N_POINTS,
        digest: str = "",
        bfloat16: bool | None = None,
    ) -> None:
        """Combine a detector with its encoder.

        Args:
            detector: trained on the model's features.
            model: encoder.
            n_points: sampled from each scan.
            digest: identifies the detector in results and thresholds.
            bfloat16: True to multiply everything in 16 bit. That is faster, and scores move, those
                of `mini` by up to 0.024, so thresholds must be calibrated with it. False for
                float32. None for 16 bit where scores move by less than 0.002
                (`fast.accelerated`), on processors that have such products, and float32 elsewhere.
        """
        self.detector = detector.to(model.device)
        self.precision = "bfloat16" if bfloat16 else "float32"
        if bfloat16 is None and gains_by_rounding(model.device):
            self.precision = "rounded"
        # the same scores, to rounding, in a fraction of the work
        self._detector = for_scoring(self.detector.eval())
        self._encoder = for_encoding(model, rounded=self.precision == "rounded")
        self._captured = Captured(self._model_scores)
        self._captured_patches = Captured(self._model_patches)
        self.model = model
        self.n_points = n_points
        self.digest = digest
        self.reads_channels = model.reads_surface or detector.config.reads_surface

    def prepared(
        self, scans: Sequence[Scan], coverage: Coverage, title: str | None = None
    ) -> Iterator[list[ReadyScan]]:
        """Read and sample scans, some at a time.

        Args:
            scans: to read.
            coverage: as in `ready`.
            title: of the progress that is shown while the scans are taken; None shows nothing.
        """
        workers = min(BATCH, core_count())
        with Progress(title or "", len(scans), show=title is not None) as progress:
            for chunk in batches(len(scans), BATCH):
                some = scans[chunk]
                sizes = [given_bytes(scan) for scan in some]
                yield list(
                    map_within(
                        lambda scan: self.ready(scan, coverage), some, sizes, BYTES_IN_WORK, workers
                    )
                )
                progress.update(len(some))

    def ready(self, scan: Scan, coverage: Coverage = COVERAGE) -> ReadyScan:
        """Read, sample and describe a scan: all work before the encoder, safe in any thread.

        Raises:
            DataError: if it cannot be read or used.
            ConfigError: if `coverage` is not one of `btp.data.coverage.COVERAGES`.
        """
        read = read_scan(scan)
        prepared = prepare(Cloud(read.judged, name=read.name), self.n_points)
        samplings = cover(prepared, coverage)
        channels = self._channels(prepared.dense, samplings.points)
        valid_rows: NDArray[np.integer] = samplings.nearest
        if read.sampled:
            vertices = (read.points[read.valid] - prepared.centre) / prepared.scale
            valid_rows = np.stack([nearest_rows(vertices, each) for each in samplings.points])
        return ReadyScan(
            read,
            samplings.points,
            channels,
            samplings.nearest,
            valid_rows,
            prepared.repeated,
            samplings.spacing,
            prepared.scale,
        )

    def _channels(
        self, dense: NDArray[np.float32], points: NDArray[np.float32]
    ) -> torch.Tensor | None:
        """Describe the local geometry at samplings [V, N, 3]: [V, N, F]; None if it is not used."""
        if not self.reads_channels:
            return None
        # The dense surface is the same for all samplings, and described once.
        geometry = local_geometry(dense, points.reshape(-1, 3)).reshape(*points.shape[:2], -1)
        # 16 bit, as the heads saw them while they were trained from the feature store
        return torch.from_numpy(surface_channels(geometry)).half().float()

    def score(self, batch: Sequence[ReadyScan]) -> list[ScoredScan]:
        """Score prepared scans as one batch.

        Raises:
            DataError: if the model gives a score that is not finite.
        """
        found = self._in_batches(self._captured, batch)
        return [
            average_samplings(ready, objects.numpy(), values.numpy())
            for ready, (objects, values) in _split_samplings(batch, found)
        ]

    def described(
        self, scans: Sequence[Scan], coverage: Coverage, progress: bool = False
    ) -> Iterator[tuple[ReadyScan, DescribedScan]]:
        """Read, sample and describe scans, a few at a time, for judging them by others."""
        for ready in self.prepared(scans, coverage, "describing" if progress else None):
            yield from self.describe(ready)

    def describe(self, batch: Sequence[ReadyScan]) -> list[tuple[ReadyScan, DescribedScan]]:
        """Encode prepared scans as one batch, and drop the channels that only the encoder reads."""
        found = self._in_batches(self._captured_patches, batch)
        result = []
        for ready, (objects, logits, descriptors, index) in _split_samplings(batch, found):
            described = DescribedScan(
                digest=_content_digest(ready),
                points=torch.from_numpy(ready.points),
                scale=ready.scale,
                patch_index=index,
                descriptors=descriptors,
                patch_logits=logits,
                object_logits=objects.logit(1e-6),
            )
            result.append((replace(ready, channels=None), described))
        return result

    def _in_batches(self, model: Captured, batch: Sequence[ReadyScan]) -> list[torch.Tensor]:
        """Run the model on all samplings of some scans: what it returns, along the samplings."""
        points = torch.cat([torch.from_numpy(ready.points) for ready in batch])
        channels = [ready.channels for ready in batch if ready.channels is not None]
        inputs = [points, torch.cat(channels)] if channels else [points]
        found: list[tuple[torch.Tensor, ...]] = []
        with torch.inference_mode():
            for some in batches(len(points), BATCH):
                outputs = model(*(each[some].to(self.model.device) for each in inputs))
                found.append(tuple(output.cpu() for output in outputs))
        return [torch.cat(each) for each in zip(*found, strict=True)]

    def _model_scores(
        self, points: torch.Tensor, channels: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        _, scores = self._model(points, channels)
        return scores.object_scores.float(), scores.point_scores.float()

    def _model_patches(
        self, points: torch.Tensor, channels: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        features, scores = self._model(points, channels)
        described, index = describe_patches(features), features.patch_index
        return scores.object_scores.float(), scores.patch_logits.float(), described, index

    def _model(
        self, points: torch.Tensor, channels: torch.Tensor | None
    ) -> tuple[Features, Scores]:
        half = self.precision == "bfloat16"
        with torch.autocast(points.device.type, torch.bfloat16, enabled=half):
            features = self._encoder.encode(points, channels)
            return features, self._detector(features)


def _content_digest(ready: ReadyScan) -> str:
    """Identify a scan by its points: 32 hexadecimal digits."""
    points = np.ascontiguousarray(ready.scan.judged)
    return hashlib.blake2b(points.tobytes(), digest_size=16).hexdigest()


def _split_samplings(
    ready: Sequence[ReadyScan], values: Sequence[torch.Tensor]
) -> Iterator[tuple[ReadyScan, list[torch.Tensor]]]:
    """Yield each scan with its rows of tensors whose first axis runs over all samplings."""
    counts = [len(scan.points) for scan in ready]
    yield from zip(
        ready, map(list, zip(*(value.split(counts) for value in values), strict=True)), strict=True
    )
