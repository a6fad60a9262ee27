"""Both towers of a point-language model while they are trained, and their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from btp.models.fast import accelerated
from btp.models.point_encoder import PointBERT
from btp.models.point_language import EncoderConfig
from btp.models.text_encoder import TextEncoder, end_position
from btp.runtime.files import write_bytes
from btp.weights.state_dict import load_strictly, read_checkpoint


class PointLanguagePretrainer(nn.Module):
    """Both towers, and the patch projection that lets patch tokens meet phrases."""

    def __init__(self, encoder: EncoderConfig, groups: int, compiled: bool = False) -> None:
        """Untrained.

        Args:
            encoder: sizes.
            groups: patches a cloud while training.
            compiled: run the point tower's training steps through `torch.compile`.
        """
        super().__init__()
        self.points = PointBERT(replace(encoder.point, groups=groups))
        # the same function in fewer products, on the weights of `points`
        self._encode = self._in_training = accelerated(self.points).forward
        if compiled:
            self._in_training = torch.compile(self._encode)
        self.text = TextEncoder(encoder.text)
        width, out = encoder.point.width, encoder.point.embed_dim
        # reads the taps that BTP's heads will read
        self.patch = nn.Sequential(
            nn.Linear(len(encoder.point.taps) * width, out), nn.GELU(), nn.Linear(out, out)
        )

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Tokens [P, T] -> [P, D], L2-normalised."""
        return self.text.encode(self.text.embed(tokens), end_position(tokens))

    def forward(
        self, points: Tensor, surface: Tensor, patch_index: Tensor, phrases: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Object embeddings [B, D], patch logits [B, G] and object logits [B].

        Args:
            points: float [B, N, 3].
            surface: float [B, N, F].
            patch_index: int64 [B, G, K].
            phrases: float [2, D], normal and defective.
        """
        # a validation has other sizes, too few times to be worth a compilation
        encode = self._in_training if self.training else self._encode
        features = encode(points, surface, patch_index)
        direction = phrases[1] - phrases[0]
        tokens = features.taps.transpose(1, 2).flatten(2)  # [B, G, L C]
        # normalised taps are small; sqrt(C) gives them unit variance
        patch_logits = self.patch(tokens * features.cls.shape[1] ** 0.5) @ direction
        object_logits = features.object_embedding @ direction / 0.07
        return features.object_embedding, patch_logits, object_logits


def save_towers(model: PointLanguagePretrainer, out: Path) -> None:
    """Write both towers, 16 bit."""
    from safetensors.torch import save

    for name, tower in _towers(model):
        state = {
            key: value.detach().cpu().half() if value.is_floating_point() else value.cpu()
            for key, value in tower.state_dict().items()
        }
        content = save({key: value.contiguous() for key, value in state.items()})
        write_bytes(out / f"{name}.safetensors", content)


def load_towers(model: PointLanguagePretrainer, folder: Path) -> None:
    """Read what `save_towers` wrote.

    Raises:
        WeightsError: if a file is missing or of other sizes.
    """
    for name, tower in _towers(model):
        path = folder / f"{name}.safetensors"
        load_strictly(tower, read_checkpoint(path), path)


def _towers(model: PointLanguagePretrainer) -> tuple[tuple[str, nn.Module], ...]:
    """By the names of their files."""
    return ("points", model.points), ("text", model.text.tower)
