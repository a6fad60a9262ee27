"""A text tower's token table, cut to the tokens that its training has met."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

TABLE = "token_embedding.weight"
KEPT = "token_ids"


def keep_tokens(state: Mapping[str, Tensor], learned: Tensor) -> dict[str, Tensor]:
    """Cut the token table of a text tower's state to some tokens, and add which these are.

    Args:
        state: with the table [vocabulary, W].
        learned: int64 [T], sorted.

    Returns:
        A state whose table is [T, W], with their ids, int32 [T].
    """
    return dict(state) | {TABLE: state[TABLE][learned], KEPT: learned.int()}


def all_tokens(state: Mapping[str, Tensor], table: Tensor) -> dict[str, Tensor]:
    """Undo `keep_tokens`; a state that was never cut is returned as it is.

    Args:
        state: of a text tower.
        table: [vocabulary, W], the vectors of tokens that the state does not hold.
    """
    whole = dict(state)
    learned = whole.pop(KEPT, None)
    if learned is not None:
        whole[TABLE] = table.to(state[TABLE].dtype).index_copy(0, learned.long(), state[TABLE])
    return whole


def learned_tokens(state: Mapping[str, Tensor]) -> frozenset[int] | None:
    """Return the ids of the tokens that a cut state holds; None for a state with all of them."""
    learned = state.get(KEPT)
    return None if learned is None else frozenset(learned.tolist())
