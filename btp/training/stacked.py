"""Several trainees computed as one, on parameters stacked along a first axis."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from btp.features.store import FeatureSet
from btp.losses import joint_loss
from btp.models.detector import Detector, scores_from_patches
from btp.models.gfcm import patch_inputs
from btp.models.point_language import PointLanguageModel
from btp.recipe import Recipe
from btp.training.loop import Trainee, learning_rate, make_optimizer, order_of
from btp.training.resume import State
from btp.types import Features, Scores


class Stack:
    """S trainees as one, whose tensors are [S, ...]; a batch holds B clouds of each, [S B, ...].

    Attributes:
        optimizer: of all.
        tensors: by name, parameters and what the norms remember.
    """

    def __init__(
        self, states: Sequence[State[Trainee]], model: PointLanguageModel, recipe: Recipe
    ) -> None:
        """Stack trainees that have come to the same epoch.

        Args:
            states: of each, with its optimiser.
            model: of all.
            recipe: of all.
        """
        self.states, self.recipe, self.device = states, recipe, model.device
        # the model is large and frozen: one for all
        self.all = copy.deepcopy(states[0].trainee, {id(model): model})
        each = [state.trainee.state_dict() for state in states]
        self.tensors = self.all.state_dict(keep_vars=True)
        for name, tensor in self.tensors.items():
            tensor.data = torch.stack([of_one[name] for of_one in each])
        self.optimizer = make_optimizer(self.all, recipe)
        self._resume_optimizer()
        self.heads = _Heads(states[0].trainee.detector)

    def _resume_optimizer(self) -> None:
        each = [state.optimizer.state_dict()["state"] for state in self.states]
        content = self.optimizer.state_dict()
        for number, moments in each[0].items():
            content["state"][number] = {
                name: value if name == "step" else torch.stack([s[number][name] for s in each])
                for name, value in moments.items()
            }
        self.optimizer.load_state_dict(content)

    def hand_over(self, with_optimizer: bool) -> None:
        """Give each state its share of what was trained."""
        moments = self.optimizer.state_dict()
        for place, state in enumerate(self.states):
            state.trainee.load_state_dict({k: v[place] for k, v in self.tensors.items()})
            if with_optimizer:
                own = {
                    number: {k: v if k == "step" else v[place].clone() for k, v in values.items()}
                    for number, values in moments["state"].items()
                }
                state.optimizer.load_state_dict(moments | {"state": own})

    def run_epoch(
        self, data: FeatureSet, seeds: Sequence[int], epoch: int, bfloat16: bool
    ) -> list[dict[str, float]]:
        """One pass over the data; the mean of each loss term, for each seed."""
        recipe, optimizer = self.recipe, self.optimizer
        orders = [list(order_of(len(data), recipe, seed, epoch)) for seed in seeds]
        count = len(orders[0])
        sums: dict[str, Tensor] = {}
        for step, rows in enumerate(zip(*orders, strict=True), start=epoch * count):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, count * recipe.epochs, group["base_lr"], recipe)
            features, labels = data.batch(torch.cat(rows), self.device)
            # a weight is not kept cast: `vmap` hands out another one in every step
            with torch.autocast(
                self.device.type, torch.bfloat16, enabled=bfloat16, cache_enabled=False
            ):
                scores = self._scores(features)
            terms = self._losses(scores, labels, features.fpfh)
            optimizer.zero_grad(set_to_none=True)
            terms["total"].sum().backward()
            self._clip()
            optimizer.step()
            for name, value in terms.items():
                sums[name] = value.detach() + sums.get(name, 0.0)
        with torch.no_grad():
            self.all.detector.text.copy_(self._text())
        means = {name: (total / count).tolist() for name, total in sums.items()}
        return [{name: of[place] for name, of in means.items()} for place in range(len(seeds))]

    def _split(self, tensor: Tensor) -> Tensor:
        return tensor.unflatten(0, (len(self.states), -1))

    def _text(self) -> Tensor:
        """`Trainee.text` of all: [S, 2, D]; the tower takes their prompts in one batch."""
        prompts = self.all.prompts
        if prompts is None:
            return self.all.detector.text
        words = [prompts.prefix[None], prompts.context[:, None], prompts.suffix[None]]
        count = len(self.states)
        joined = torch.cat([part.expand(count, 2, -1, -1) for part in words], dim=2)
        end = prompts.end.repeat(count)
        return self._split(self.all.model.text.encode(joined.flatten(0, 1), end))

    def _scores(self, features: Features) -> Scores:
        """`Detector.forward` of all: [S B, ...]. Only what has parameters needs `vmap`."""
        text = self._text()
        direction = text[:, 1] - text[:, 0]
        given = [features.taps, features.cls]
        if self.recipe.use_geometry:
            given.append(patch_inputs(features, self.recipe.gfcm_input))
        of_heads = {k: v for k, v in self.tensors.items() if k.startswith("detector.")}

        def of_one(tensors: dict[str, Tensor], *inputs: Tensor) -> Any:
            return functional_call(self.heads, tensors, inputs)

        logits, *geometry = vmap(of_one)(of_heads, direction, *map(self._split, given))
        return scores_from_patches(
            self.recipe,
            features,
            logits.flatten(0, 1),
            direction.repeat_interleave(logits.shape[1], dim=0),
            geometry[0].flatten(0, 1) if geometry else None,
        )

    def _losses(self, scores: Scores, labels: Tensor, fpfh: Tensor | None) -> dict[str, Tensor]:
        """`joint_loss` of all: each term [S]."""
        parts = {k: self._split(v) for k, v in vars(scores).items() if v is not None}
        targets = [] if fpfh is None else [self._split(fpfh)]

        def of_one(own: dict[str, Tensor], own_labels: Tensor, *own_fpfh: Tensor) -> Any:
            target = own_fpfh[0] if own_fpfh else None
            recipe = self.recipe
            return joint_loss(
                Scores(**own), own_labels, target, recipe.loss, recipe.geo_temperature
            )

        return vmap(of_one)(parts, self._split(labels), *targets)

    def _clip(self) -> None:
        """`clip_grad_norm_` for each seed."""
        gradients = [p.grad for p in self.all.parameters() if p.grad is not None]
        norms = [torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients]
        total = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        factor = (self.recipe.clip_norm / (total + 1e-6)).clamp(max=1.0)  # [S]
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))


class _Heads(nn.Module):
    """GFCM and MGFEM without features: in plain forms, which `vmap` can stack."""

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, direction: Tensor, taps: Tensor, cls: Tensor, *patches: Tensor) -> Any:
        """Patch logits [B, G]; and descriptors [B, G, 33], if there are patches [B, G, K, c]."""
        gfcm, mgfem = self.detector.gfcm, self.detector.mgfem
        if gfcm is None:
            return (mgfem.logits(taps, cls, None, direction),)
        geometry = gfcm(*patches)
        return mgfem.logits(taps, cls, geometry, direction), geometry
