"""Both towers of a point-language model while they are trained, and their files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from btp.geometry.patches import gather, patch_centres
from btp.models.fast import accelerated
from btp.models.point_encoder import PointBERT
from btp.models.point_language import EncoderConfig
from btp.models.text_encoder import TextEncoder, end_position
from btp.runtime.files import write_bytes
from btp.weights.state_dict import load_strictly, read_checkpoint
from btp.weights.tokens import all_tokens, keep_tokens

TARGETS = ("mean", "lowest", "highest")
"""What is predicted of each channel of local geometry over the points of a patch."""


class Corruption(NamedTuple):
    """Which patches of a batch are hidden from the point tower, and how.

    Attributes:
        blank: bool [B, G], patches whose token is a learned blank.
        foreign: bool [B, G], patches whose points are replaced by those of another patch.
        source: int64 [B, G], that other patch, counted over the whole batch; used where `foreign`.
    """

    blank: Tensor
    foreign: Tensor
    source: Tensor

    @property
    def hidden(self) -> Tensor:
        """Return the patches that the tower does not see: bool [B, G]."""
        return self.blank | self.foreign


class PointLanguagePretrainer(nn.Module):
    """Both towers, and what predicts the local geometry of patches from their tokens."""

    def __init__(self, encoder: EncoderConfig, groups: int, compiled: bool = False) -> None:
        """Build both towers, untrained.

        Args:
            encoder: sizes.
            groups: patches a cloud while training.
            compiled: run the point tower's training steps through `torch.compile`.
        """
        super().__init__()
        point = encoder.point
        self.points = PointBERT(replace(point, groups=groups))
        # the same function in fewer products, on the weights of `points`; a list keeps these from
        # being counted twice
        self._fast = [accelerated(self.points)]
        self._encode = self._in_training = self._tokens
        if compiled:
            self._in_training = torch.compile(self._encode)
        self.text = TextEncoder(encoder.text)
        self.channels = point.point_features // 2  # the other half only compares within the cloud
        self.blank = nn.Parameter(torch.randn(point.width) * 0.02)
        self.predict = nn.Sequential(
            nn.Linear(point.width, 2 * point.width),
            nn.GELU(),
            nn.Linear(2 * point.width, len(TARGETS) * self.channels),
        )

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Encode tokens [P, T]: float [P, D], L2-normalised."""
        return self.text.encode(self.text.embed(tokens), end_position(tokens))

    def forward(
        self,
        points: Tensor,
        surface: Tensor,
        patch_index: Tensor,
        corruption: Corruption | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Encode clouds of which some patches may be hidden.

        Args:
            points: float [B, N, 3].
            surface: float [B, N, F].
            patch_index: int64 [B, G, K].
            corruption: what is hidden; None for nothing.

        Returns:
            Object embeddings [B, D], and the predicted geometry of every patch, as
            `geometry_targets` gives it: [B, G, `TARGETS` x channels].
        """
        centres = patch_centres(points, patch_index)
        patches = gather(points, patch_index) - centres[:, :, None]
        patches = torch.cat([patches, gather(surface, patch_index)], dim=-1)  # [B, G, K, 3 + F]
        if corruption is None:
            nothing = torch.zeros(patch_index.shape[:2], dtype=torch.bool, device=points.device)
            corruption = Corruption(nothing, nothing, nothing.long())
        # a validation has other sizes, too few times to be worth a compilation
        encode = self._in_training if self.training else self._encode
        tokens = encode(patches, centres, *corruption)
        pooled = torch.cat([tokens[:, 0], tokens[:, 1:].amax(1)], dim=1)
        embedding = F.normalize(pooled @ self.points.pc_projection, dim=-1)
        return embedding, self.predict(tokens[:, 1:])

    def _tokens(
        self, patches: Tensor, centres: Tensor, blank: Tensor, foreign: Tensor, source: Tensor
    ) -> Tensor:
        """Run the point tower with some patches hidden: normed tokens [B, 1 + G, C].

        A blank patch is one only after the mini-PointNet: its batch norms see real patches alone.
        """
        tower = self._fast[0].point_encoder
        batch, groups = blank.shape
        own = torch.arange(batch * groups, device=blank.device)
        shown = torch.where(foreign.flatten(), source.flatten(), own)[~blank.flatten()]
        seen = tower.reduce_dim(tower.encoder(patches.flatten(0, 1)[shown]))
        tokens = self.blank.to(seen.dtype).expand(batch * groups, -1).clone()
        tokens = tokens.masked_scatter(~blank.flatten()[:, None], seen).view(batch, groups, -1)
        x = torch.cat([tower.cls_token.expand(batch, -1, -1), tokens], dim=1)
        position = torch.cat([tower.cls_pos.expand(batch, -1, -1), tower.pos_embed(centres)], dim=1)
        return tower.norm(tower.blocks(x, position)[0])

    def geometry_targets(self, surface: Tensor, patch_index: Tensor) -> Tensor:
        """Summarise the dense cloud's local geometry over each patch, standardised.

        Args:
            surface: float [B, N, F].
            patch_index: int64 [B, G, K].

        Returns:
            Float [B, G, `TARGETS` x channels], mean 0 and spread 1 over the batch's patches.
        """
        held = gather(surface[..., : self.channels], patch_index)  # [B, G, K, channels]
        targets = torch.cat([held.mean(2), held.amin(2), held.amax(2)], dim=-1)
        flat = targets.flatten(0, 1)
        return (targets - flat.mean(0)) / (flat.std(0) + 1e-3)


def save_towers(model: PointLanguagePretrainer, out: Path, learned: Tensor) -> None:
    """Write both towers, 16 bit; of the token table the learned rows alone.

    Args:
        model: with both.
        out: folder for points.safetensors and text.safetensors.
        learned: int64 [T], the tokens that the training has met, sorted.
    """
    from safetensors.torch import save

    for name, tower in _towers(model):
        state = {
            key: value.detach().cpu().half() if value.is_floating_point() else value.cpu()
            for key, value in tower.state_dict().items()
        }
        if name == "text":
            state = keep_tokens(state, learned)
        content = save({key: value.contiguous() for key, value in state.items()})
        write_bytes(out / f"{name}.safetensors", content)


def load_towers(model: PointLanguagePretrainer, folder: Path) -> None:
    """Read what `save_towers` wrote; tokens that were not learned keep their random vectors.

    Raises:
        WeightsError: if a file is missing or of other sizes.
    """
    for name, tower in _towers(model):
        path = folder / f"{name}.safetensors"
        state = read_checkpoint(path)
        if name == "text":
            state = all_tokens(state, model.text.tower.token_embedding.weight.detach())
        load_strictly(tower, state, path)


def _towers(model: PointLanguagePretrainer) -> tuple[tuple[str, nn.Module], ...]:
    """Return both towers by the names of their files."""
    return ("points", model.points), ("text", model.text.tower)
