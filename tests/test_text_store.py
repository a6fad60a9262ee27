"""Embeddings of fixed texts are kept, for one text tower only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from btp.weights.text_store import TextStore


def test_texts_are_kept_for_the_weights_that_made_them(tmp_path: Path) -> None:
    store = TextStore.beside(tmp_path / "text_tower.safetensors", "a" * 64)
    assert store.path == tmp_path / "text_tower_prompts.safetensors"
    assert store.read() == {}
    store.add({"normal .": torch.arange(3.0)})
    store.add({"defective .": torch.ones(3)})
    kept = store.read()
    assert torch.equal(kept["normal ."], torch.arange(3.0))
    assert torch.equal(kept["defective ."], torch.ones(3))
    other = TextStore(store.path, "b" * 64)
    assert other.read() == {}
    other.add({"x": torch.zeros(3)})
    assert store.read() == {}
    assert other.read().keys() == {"x"}


def test_several_may_add_at_once(tmp_path: Path) -> None:
    store = TextStore(tmp_path / "prompts.safetensors", "a" * 64)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: store.add({f"text {i}": torch.full((2,), float(i))}), range(12)))
    kept = store.read()
    assert {text: float(e[0]) for text, e in kept.items()} == {f"text {i}": i for i in range(12)}
