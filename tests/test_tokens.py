"""A text tower whose token table holds the learned tokens alone."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny import ENCODER, tiny_model

from btp.models.point_language import PointLanguageModel
from btp.models.prompts import HybridPromptLearner
from btp.models.text_encoder import tokenize
from btp.weights.tokens import KEPT, TABLE, all_tokens, keep_tokens, learned_tokens

KNOWN = ("a normal object", "normal object.", "defective object.")


def cut_model(folder: Path) -> PointLanguageModel:
    """The tiny model, its text tower read from a file that holds the tokens of `KNOWN`."""
    state = tiny_model().text.tower.state_dict()
    learned = tokenize(KNOWN).unique()
    path = folder / "text.safetensors"
    save_file({k: v.contiguous() for k, v in keep_tokens(state, learned).items()}, path)
    return PointLanguageModel(dataclasses.replace(ENCODER, text_weights=str(path)))


def test_cutting_and_filling_up_gives_the_learned_rows_back() -> None:
    table = torch.arange(12.0).view(6, 2)
    state = keep_tokens({TABLE: table, "other": torch.ones(1)}, torch.tensor([1, 4]))
    assert state[TABLE].shape == (2, 2)
    assert learned_tokens(state) == {1, 4}
    whole = all_tokens(state, torch.zeros(6, 2))
    assert KEPT not in whole
    expected = torch.zeros(6, 2)
    expected[[1, 4]] = table[[1, 4]]
    assert torch.equal(whole[TABLE], expected)
    assert torch.equal(whole["other"], torch.ones(1))


def test_a_whole_table_is_left_alone() -> None:
    state = {TABLE: torch.ones(6, 2)}
    assert learned_tokens(state) is None
    assert torch.equal(all_tokens(state, torch.zeros(6, 2))[TABLE], state[TABLE])


def test_known_words_are_encoded_as_before_and_without_a_warning(tmp_path: Path) -> None:
    model = cut_model(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(model.text(KNOWN), tiny_model().text(KNOWN))
        HybridPromptLearner(model.text, ("normal object.", "defective object."))


def test_unknown_words_are_named(tmp_path: Path) -> None:
    model = cut_model(tmp_path)
    with pytest.warns(UserWarning, match="never met 'zebra.*' of the prompt 'a normal zebra'"):
        model.text(["a normal zebra"])
    with pytest.warns(UserWarning, match="never met 'rusty"):
        HybridPromptLearner(model.text, ("normal object.", "rusty object."))
