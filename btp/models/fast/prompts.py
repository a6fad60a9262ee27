"""Two prompts through the text tower as one sequence, which holds what they share only once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from btp.models.prompts import HybridPromptLearner
from btp.models.text_encoder import TextEncoder


class PackedPrompts:
    """Encodes prompts like the learner that it wraps, whose context it follows; called like it.

    The tower is causal, so the start token, the context and equal words before the first that
    differs are the same in both prompts, in every layer. The sequence is these, the rest of the
    first prompt, and the rest of the second, which does not attend to that of the first.
    """

    def __init__(self, prompts: HybridPromptLearner) -> None:
        """Lay out the sequence of a learner's two prompts."""
        self.prompts = prompts
        context, device = len(prompts.context), prompts.suffix.device
        self.length = int(prompts.end.max()) + 1
        ends = (prompts.end - context).tolist()  # of each prompt's words, behind the start token
        equal = (prompts.suffix[0] == prompts.suffix[1]).all(-1)[: min(ends) - 1]
        alike = int(equal.int().cumprod(0).sum())
        rests = [each[alike:end] for each, end in zip(prompts.suffix, ends, strict=True)]
        self.words = torch.cat([prompts.suffix[0, :alike], *rests])
        first = 1 + context + alike  # place of the first word that differs
        own = [torch.arange(first, first + len(rest), device=device) for rest in rests]
        self.positions = torch.cat([torch.arange(first, device=device), *own])
        self.ends = torch.tensor([len(rests[0]), len(rests[0]) + len(rests[1])]) + first - 1
        # causal, and the second rest is blind to the first
        self.mask = torch.ones(2 * [len(self.positions)], dtype=torch.bool, device=device).tril()
        self.mask[first + len(rests[0]) :, first : first + len(rests[0])] = False

    def __call__(self, encoder: TextEncoder) -> Tensor:
        """Return `prompts(encoder)`, float [2, D]."""
        prompts, tower = self.prompts, encoder.tower
        if self.length > encoder.config.context_length:
            return prompts(encoder)  # which says that they are too long
        x = torch.cat([prompts.prefix[0], prompts.context, self.words])
        x = (x + tower.positional_embedding[self.positions].float())[None]  # [1, T, W]
        for block in tower.transformer.resblocks:
            x = block(x, self.mask)
        x = tower.ln_final(x[0, self.ends]) @ tower.text_projection
        return F.normalize(x.float(), dim=-1)
