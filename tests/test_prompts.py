"""Text tower on embeddings, and prompts that really learn."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny import ENCODER, tiny_model

from btp.errors import ConfigError
from btp.models import point_language
from btp.models.point_language import PointLanguageModel
from btp.models.prompts import HybridPromptLearner
from btp.models.text_encoder import TextEncoder, end_position, tokenize
from btp.runtime.torchvision_shim import ensure_importable

TEXTS = ("normal object.", "defective object.")
END = 49407  # OpenCLIP's end token


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return tiny_model().text


def test_end_token_is_found() -> None:
    tokens = tokenize(["vase", "a very long vase indeed", ""])
    for row, position in zip(tokens, end_position(tokens), strict=True):
        assert row[position] == END
        assert (row[position + 1 :] == 0).all()


def test_a_text_beyond_the_context_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\b82 tokens"):
        tokenize(["vase " * 80])


def test_encoding_equals_open_clip(encoder: TextEncoder) -> None:
    texts = ["a vase", "a defective bottle with a long crack"]
    ensure_importable()
    from open_clip.transformer import TextTransformer

    sizes = vars(ENCODER.text) | {"output_dim": ENCODER.text.embed_dim}
    del sizes["embed_dim"]
    theirs = TextTransformer(**sizes).eval()
    theirs.load_state_dict(encoder.tower.state_dict())
    expected = torch.nn.functional.normalize(theirs(tokenize(texts)), dim=-1)
    torch.testing.assert_close(encoder(texts), expected)


def test_16_bit_weights_stay_close(encoder: TextEncoder) -> None:
    half = tiny_model().text.bfloat16()
    texts = ["a vase", "a defective bottle"]
    assert half(texts).dtype == torch.float32
    torch.testing.assert_close(half(texts), encoder(texts), atol=0.02, rtol=0)


def test_16_bit_weights_are_multiplied_in_32_where_there_are_no_16_bit_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = replace(ENCODER, text_dtype="bfloat16")
    weights = {}
    for able, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(point_language, "multiplies_in_16_bit", lambda device, able=able: able)
        weights[able] = PointLanguageModel(config).text.tower.text_projection
        assert weights[able].dtype == dtype
    assert torch.equal(weights[True].float(), weights[False])


def test_stopping_at_the_end_token_is_exact(encoder: TextEncoder) -> None:
    tokens = tokenize(["a vase"])
    embeddings, end = encoder.embed(tokens), end_position(tokens)
    padded = encoder.embed(tokens).clone()
    padded[:, int(end) + 1 :] = 100.0  # whatever follows is never read
    assert torch.equal(encoder.encode(embeddings, end), encoder.encode(padded, end))


def test_layout_is_start_context_template_end(encoder: TextEncoder) -> None:
    prompts = HybridPromptLearner(encoder, TEXTS, context_tokens=4)
    tokens = tokenize(TEXTS)
    seen: dict[str, torch.Tensor] = {}

    class Spy:
        config = encoder.config

        def encode(self, embeddings: torch.Tensor, end: torch.Tensor) -> torch.Tensor:
            seen.update(embeddings=embeddings, end=end)
            return torch.zeros(2, 16)

    prompts(Spy())  # type: ignore[arg-type]
    words = encoder.embed(tokens)
    assert torch.equal(seen["embeddings"][:, 0], words[:, 0])
    assert torch.equal(seen["embeddings"][0, 1:5], prompts.context)
    assert torch.equal(seen["embeddings"][:, 5:], words[:, 1:])
    assert torch.equal(seen["end"], end_position(tokens) + 4)


def test_without_context_the_prompts_are_the_texts(encoder: TextEncoder) -> None:
    prompts = HybridPromptLearner(encoder, TEXTS, context_tokens=0)
    torch.testing.assert_close(prompts(encoder), encoder(TEXTS))


def test_gradients_reach_the_context_and_nothing_else(encoder: TextEncoder) -> None:
    prompts = HybridPromptLearner(encoder, TEXTS)
    normal, defective = prompts(encoder)
    (normal @ defective).backward()
    assert prompts.context.grad is not None
    assert (prompts.context.grad.abs().sum(1) > 0).all()
    assert all(p.grad is None for p in encoder.parameters())


def test_more_context_than_the_tower_reads_is_refused(encoder: TextEncoder) -> None:
    room = ENCODER.text.context_length - int(end_position(tokenize(TEXTS)).max()) - 1
    HybridPromptLearner(encoder, TEXTS, room)(encoder)
    with pytest.raises(ConfigError, match="78 tokens long"):
        HybridPromptLearner(encoder, TEXTS, room + 1)(encoder)
