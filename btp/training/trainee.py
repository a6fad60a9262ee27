"""What is trained: the heads and the prompts' context as one module, and its optimiser."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from btp.models.checkpoint import new_detector, pretrained_heads, start_from
from btp.models.detector import Detector
from btp.models.point_language import PointLanguageModel
from btp.models.prompts import HybridPromptLearner
from btp.models.text_encoder import TextEncoder
from btp.models.ulip import LinearHead
from btp.recipe import Recipe, TrainConfig

# Names of parameters without weight decay, as in the release: biases, norms, embeddings, prompts.
_NO_DECAY = ("norm", "ln", "embed", "prompt")


class Trainee(nn.Module):
    """Holds all that is trained as one module: heads, and the prompts' context if it is learned."""

    def __init__(
        self,
        model: PointLanguageModel,
        detector: Detector | LinearHead,
        prompts: HybridPromptLearner | None = None,
        keep_statistics: bool = False,
    ) -> None:
        """Join what is trained.

        Args:
            model: frozen; its text tower encodes the prompts. It is no part of the module.
            detector: the heads; their stored text is used where no prompts are given.
            prompts: with the context that is learned; None for fixed prompts.
            keep_statistics: GFCM's batch norms keep the statistics of all that they have seen.
        """
        super().__init__()
        self.model = model
        self.detector = detector
        self.prompts = prompts
        self.keep_statistics = keep_statistics

    def train(self, mode: bool = True) -> Trainee:
        """Set the mode of all parts, but of norms that keep their statistics."""
        super().train(mode)
        gfcm = self.detector.gfcm if isinstance(self.detector, Detector) else None
        if self.keep_statistics and gfcm is not None:
            gfcm.eval()
        return self

    def text(self, prompts: Callable[[TextEncoder], Tensor] | None = None) -> Tensor:
        """Return normal and anomalous text embedding [2, D], with gradients to the context.

        Args:
            prompts: another form of the prompts that it has; None for these themselves.
        """
        if self.prompts is None:
            return self.detector.text
        return (prompts or self.prompts)(self.model.text)


def new_trainee(model: PointLanguageModel, recipe: Recipe, seed: int) -> Trainee:
    """Build heads and prompts as a recipe wants them, on the model's device.

    Args:
        model: the frozen point-language model.
        recipe: switches.
        seed: of the initialisation.

    Raises:
        ConfigError: if the heads to start from have other switches.
        WeightsError: if they were trained on other weights of the encoder.
    """
    prompts = None
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        detector, wanted = new_detector(model.config, recipe.detector), recipe.prompt
        if wanted.learned:
            prompts = HybridPromptLearner(model.text, wanted.prompt_texts, wanted.context_tokens)
        else:  # needs no text tower where the embeddings are kept beside its weights
            detector.text.copy_(model.encode_text(wanted.prompt_texts))
    heads = pretrained_heads(model) if recipe.training.heads == "pretrained" else None
    if heads is not None:
        start_from(heads.detector, detector)
        if prompts is not None and heads.recipe.prompt.prompt_texts == wanted.prompt_texts:
            prompts.start_from(heads.context)
    trainee = Trainee(model, detector, prompts, keep_statistics=heads is not None)
    return trainee.to(model.device).train()


def make_optimizer(trainee: Trainee, config: TrainConfig) -> torch.optim.AdamW:
    """Build AdamW with three groups: weights, what has no weight decay, and prompts."""
    prompts, plain, decayed = [], [], []
    for name, parameter in trainee.named_parameters():
        if name.startswith("prompts."):
            prompts.append(parameter)
        elif name.endswith("bias") or any(part in name for part in _NO_DECAY):
            plain.append(parameter)
        else:
            decayed.append(parameter)
    groups = [
        {"params": decayed, "base_lr": config.learning_rate, "weight_decay": config.weight_decay},
        {"params": plain, "base_lr": config.learning_rate, "weight_decay": 0.0},
        {"params": prompts, "base_lr": config.prompt_learning_rate, "weight_decay": 0.0},
    ]
    # fused: one pass over the memory instead of a dozen
    return torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.999), fused=True)
