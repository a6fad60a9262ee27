"""Hybrid learnable prompts (paper, Sec. 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from btp.models.text_encoder import TextEncoder, end_position


class HybridPromptLearner(nn.Module):
    """Learns context tokens that stand before both prompts' words.

    A prompt is [start] [context x n] [template words] [end], normal or defective.

    The context is shared by both prompts (CoOp's unified context) and is all that is trained; with
    n = 0 the prompts are fixed text.
    """

    prefix: Tensor
    suffix: Tensor
    end: Tensor

    def __init__(
        self, encoder: TextEncoder, texts: tuple[str, str], context_tokens: int = 4
    ) -> None:
        """Embed the fixed words, and draw the context.

        Args:
            encoder: text tower; it is read here and passed again to `forward`, never trained.
            texts: normal and defective template, such as "normal object." (Sec. 3.5).
            context_tokens: n.
        """
        super().__init__()
        weight = encoder.tower.token_embedding.weight
        tokens = encoder.tokens(texts)
        with torch.no_grad():
            words = encoder.embed(tokens)  # [2, T, W]
        # CoOp's initialisation, which is also that of CLIP's token table
        context = torch.randn(context_tokens, encoder.config.width) * 0.02
        self.context = nn.Parameter(context.to(weight.device))
        # Recomputed from the template when a checkpoint is loaded, so not stored with it.
        self.register_buffer("prefix", words[:, :1].clone(), persistent=False)
        self.register_buffer("suffix", words[:, 1:].clone(), persistent=False)
        self.register_buffer("end", end_position(tokens) + context_tokens, persistent=False)

    @torch.no_grad()
    def start_from(self, context: Tensor | None) -> None:
        """Copy learned tokens [n, W], where they are given and as many and as wide."""
        if context is not None and context.shape == self.context.shape:
            self.context.copy_(context)

    def forward(self, encoder: TextEncoder) -> Tensor:
        """Encode both prompts: float [2, D], normal first, L2-normalised.

        Gradients reach the context; what the context pushes beyond the tower's length is padding.

        Raises:
            ConfigError: if an end token would be pushed out.
        """
        context = self.context.expand(2, -1, -1)
        return encoder.encode(torch.cat([self.prefix, context, self.suffix], dim=1), self.end)
