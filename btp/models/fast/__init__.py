"""Cheaper forms of the models' functions, put in by one visible call where work is set up.

`btp.models` says what is computed; here is how it is computed quickly, with the same results to
rounding, gradients included. Nothing of this changes a model: each call returns another object that
shares the model's weights (`for_training`, `for_encoding`, `PackedPrompts`) or has copies of them
(`for_scoring`).
"""

from btp.models.fast.detector import for_scoring, for_training
from btp.models.fast.encoder import accelerated, for_encoding
from btp.models.fast.prompts import PackedPrompts

__all__ = ["PackedPrompts", "accelerated", "for_encoding", "for_scoring", "for_training"]
