"""OpenCLIP's text tower, run on embeddings so that prompts can be learned (paper, Sec. 3.5).

Radford et al., "Learning transferable visual models from natural language supervision", ICML 2021;
Cherti et al., "Reproducible scaling laws for contrastive language-image learning", CVPR 2023.
Parameter names are open_clip's, so that the published weights load strictly. The modules are our
own because open_clip takes seconds to import, and its attention copies every weight once a token
when two short prompts pass through: 20 s a training step instead of one.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from btp.errors import ConfigError
from btp.runtime.torchvision_shim import ensure_importable

if TYPE_CHECKING:
    from open_clip.tokenizer import SimpleTokenizer


@dataclass(frozen=True)
class TextConfig:
    """Sizes of a text tower; the defaults are ViT-bigG-14's, whose space ULIP-2 shares.

    Attributes:
        width: W, of the tokens.
        heads: attention heads.
        layers: number of blocks.
        embed_dim: D, width of the space shared with the points.
        context_length: longest sequence, start and end token included.
        vocab_size: OpenCLIP's byte-pair vocabulary.
    """

    width: int = 1280
    heads: int = 20
    layers: int = 32
    embed_dim: int = 1280
    context_length: int = 77
    vocab_size: int = 49408


@functools.cache  # a constant of the package open_clip, which takes a third of a second to read
def _tokenizer() -> SimpleTokenizer:
    ensure_importable()
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def tokenize(texts: Sequence[str], context_length: int = 77) -> Tensor:
    """Return the byte-pair tokens of texts: int64 [P, context_length], [start] ... [end] 0 0 ...

    Raises:
        ConfigError: if a text is longer than the context.
    """
    tokenizer = _tokenizer()
    rows = torch.zeros(len(texts), context_length, dtype=torch.int64)
    for row, text in zip(rows, texts, strict=True):
        ids = [tokenizer.sot_token_id, *tokenizer.encode(text), tokenizer.eot_token_id]
        if len(ids) > context_length:
            raise ConfigError(
                f"the prompt {text[:60]!r} has {len(ids)} tokens with start and end, and the text "
                f"tower reads {context_length}; shorten it"
            )
        row[: len(ids)] = torch.tensor(ids)
    return rows


def end_position(tokens: Tensor) -> Tensor:
    """Return the place of the end token, which has the highest id: [P, T] -> int64 [P]."""
    return tokens.argmax(dim=-1)


class LayerNorm(nn.LayerNorm):
    """Normalises in float32, so that the residual stream stays precise beside 16-bit weights."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise float32 [..., W]; the result has the weights' type."""
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps).to(self.weight.dtype)


class CausalAttention(nn.Module):
    """Attends from each token to itself and those before it, in several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Mix tokens: [P, T, W] -> [P, T, W].

        Args:
            x: tokens.
            mask: bool [T, T], whether a token (row) attends to another (column); None for the
                causal order.
        """
        prompts, tokens, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)
        q, k, v = qkv.view(prompts, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        x = F.scaled_dot_product_attention(q, k, v, mask, is_causal=mask is None)
        return self.out_proj(x.transpose(1, 2).reshape(prompts, tokens, width))


class Mlp(nn.Module):
    """Transforms each token by two layers with GELU, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens: [P, T, W] -> [P, T, W]."""
        return self.c_proj(F.gelu(self.c_fc(x)))


class Block(nn.Module):
    """Adds attention and MLP of the normed tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = CausalAttention(width, heads)
        self.ln_2 = LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform tokens, float32 [P, T, W] -> [P, T, W]; the mask is as of `CausalAttention`."""
        x = x + self.attn(self.ln_1(x), mask).float()
        return x + self.mlp(self.ln_2(x)).float()


class Transformer(nn.Module):
    """Runs all blocks."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        blocks = (Block(config.width, config.heads) for _ in range(config.layers))
        self.resblocks = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens, float32 [P, T, W] -> [P, T, W]."""
        return self.resblocks(x)


class TextTower(nn.Module):
    """Holds the parameters, under open_clip's names."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        width = config.width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(torch.randn(config.context_length, width) * 0.01)
        self.transformer = Transformer(config)
        self.ln_final = LayerNorm(width)
        self.text_projection = nn.Parameter(torch.randn(width, config.embed_dim) * width**-0.5)
        self._initialise(config)

    def _initialise(self, config: TextConfig) -> None:
        """Draw weights by CLIP's standard deviations: residual branches shrink with the depth."""
        width = config.width
        inner = width**-0.5 * (2 * config.layers) ** -0.5
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        for block in self.transformer.resblocks.children():
            assert isinstance(block, Block)
            nn.init.normal_(block.attn.out_proj.weight, std=inner)
            nn.init.zeros_(block.attn.out_proj.bias)
            nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.mlp.c_proj.weight, std=inner)

    def forward(self, x: Tensor, end: Tensor) -> Tensor:
        """Encode embeddings with positions, float32 [P, T, W], read at the end tokens: [P, D]."""
        x = self.transformer(x)
        x = self.ln_final(x[torch.arange(len(x), device=x.device), end])
        return x @ self.text_projection


class TextEncoder(nn.Module):
    """Encodes token embeddings by a causal transformer, read at the end token."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        self.tower = TextTower(config)
        self.learned: frozenset[int] | None = None  # tokens of the training; None for all

    def tokens(self, texts: Sequence[str]) -> Tensor:
        """Tokenize texts for this tower: int64 [P, T], as `tokenize`.

        Warns of words that the tower was never trained on: they change an embedding at random.
        """
        found = tokenize(texts, self.config.context_length)
        if self.learned is not None:
            for text, row in zip(texts, found, strict=True):
                new = [t for t in row[: int(row.argmax())].tolist() if t not in self.learned]
                if new:
                    warnings.warn(
                        f"the text tower never met {_tokenizer().decode(new)!r} of the prompt "
                        f"{text[:60]!r} in its training; expected words of its captions and names. "
                        "What it makes of the prompt means little: use other words",
                        stacklevel=3,
                    )
        return found.to(self.tower.positional_embedding.device)

    def embed(self, tokens: Tensor) -> Tensor:
        """Embed token ids [P, T], before positions are added: float32 [P, T, W]."""
        return self.tower.token_embedding(tokens).float()

    def encode(self, embeddings: Tensor, end: Tensor) -> Tensor:
        """Encode token embeddings, learned ones among them.

        The tower is causal and only the end token is read, so it stops at the last end token:
        exact, and for a short prompt several times cheaper than all 77.

        Args:
            embeddings: float [P, T, W], from `embed`, learned tokens inserted.
            end: int64 [P], position of each sequence's end token.

        Returns:
            float32 [P, D], L2-normalised, whatever the type of the weights.
        """
        length = int(end.max()) + 1
        if length > self.config.context_length:
            raise ConfigError(
                f"the prompts are {length} tokens long and the text tower reads "
                f"{self.config.context_length}; use fewer context tokens or a shorter text"
            )
        position = self.tower.positional_embedding[:length].float()
        return F.normalize(self.tower(embeddings[:, :length] + position, end).float(), dim=-1)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Encode texts: float32 [P, D], L2-normalised."""
        tokens = self.tokens(texts)
        return self.encode(self.embed(tokens), end_position(tokens))
