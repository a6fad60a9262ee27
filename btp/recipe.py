"""A recipe: every place where paper and release differ, as one named switch each.

The numbers D1-D13 are used all over the project (README, tables' footnotes, configs/recipe/*.yaml).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Literal, get_args, get_origin, get_type_hints

from btp.errors import ConfigError
from btp.losses import LossWeights


@dataclass(frozen=True)
class Recipe:
    """How BTP is computed: by default as the paper says, and the release where it is silent.

    Attributes:
        name: of the recipe, for results.
        variant: row of Table 4 that its modules and losses make, for results.
        prompts: D1. Context tokens are trained, or the prompts are fixed text.
        prompt_texts: normal and defective, tokenised after the context.
        context_tokens: D2. Learned tokens between [start] and the text; the end token moves behind
            them and the sequence stays within the tower's context.
        object_score: D3. Sigmoid of 0.5 global + 0.5 highest patch logit ("max"), or 0.5 global
            probability + 0.5 mean of the highest 20 % of patch probabilities ("top20"), or as "max"
            with each patch logit averaged over the 12 nearest patches ("smooth").
        pro: D4. Which figure tables print as P-PRO: "standard" AU-PRO, or the paper's "coverage"
            AUC. Both are always computed.
        patch_temperature: D5. Divides the patch logits; objects always use `object_temperature`.
        object_temperature: of the object logits.
        uncovered: D6. Points in no patch: probability 0 ("zero"), or their nearest patch's.
        gfcm_input: D7. Coordinates of GFCM's points: "absolute" as normalised, "centred" on the
            patch and scaled by its radius; or instead the local geometry ("surface").
        fpfh_cloud: D8. FPFH on the "sampled" points with fixed radii, or on the "dense" cloud with
            radii from its spacing.
        projection: D9. Maps into the text space: one "linear" layer, or a two-layer "mlp".
        geo_temperature: D10. Of the one-directional InfoNCE over all patches of the batch.
        batch_size, shuffle, drop_last: D11.
        keep: D12. Which epoch's weights are kept: lowest mean training loss, or the last.
        heads: What the training starts from: "new" heads, or the "pretrained" ones that come with
            the encoder (new ones where none do), whose norms keep their statistics.
        train_split: D13. Split of the train category that holds its annotated scans.
        use_taps, use_geometry: Table 4's modules: MGFEM's encoder branches, GFCM.
        loss: weights of Eq. 8's terms.
        epochs, learning_rate, prompt_learning_rate, min_learning_rate, weight_decay, warmup,
        warmup_factor, clip_norm: the optimiser and its schedule.
    """

    name: str = "paper"
    variant: str = "full"
    prompts: Literal["learned", "fixed"] = "learned"
    prompt_texts: tuple[str, str] = ("normal object.", "defective object.")
    context_tokens: int = 4
    object_score: Literal["max", "top20", "smooth"] = "max"
    pro: Literal["standard", "coverage"] = "coverage"
    patch_temperature: float = 0.07
    object_temperature: float = 0.07
    uncovered: Literal["zero", "nearest"] = "zero"
    gfcm_input: Literal["absolute", "centred", "surface"] = "absolute"
    fpfh_cloud: Literal["sampled", "dense"] = "sampled"
    projection: Literal["linear", "mlp"] = "linear"
    geo_temperature: float = 0.1
    batch_size: int = 2
    shuffle: bool = False
    drop_last: bool = True
    keep: Literal["lowest_loss", "last"] = "lowest_loss"
    heads: Literal["new", "pretrained"] = "new"
    train_split: Literal["test", "train"] = "test"
    use_taps: bool = True
    use_geometry: bool = True
    loss: LossWeights = field(default_factory=LossWeights)
    epochs: int = 100
    learning_rate: float = 5e-4
    prompt_learning_rate: float = 1e-3
    min_learning_rate: float = 1e-6
    weight_decay: float = 1e-4
    warmup: float = 0.1
    warmup_factor: float = 0.1
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        hints = get_type_hints(Recipe)
        for switch in fields(self):
            value, hint = getattr(self, switch.name), hints[switch.name]
            if get_origin(hint) is Literal and value not in get_args(hint):
                raise ConfigError(
                    f"recipe.{switch.name} is {value!r}; expected one of "
                    f"{', '.join(get_args(hint))}"
                )
        texts = self.prompt_texts
        if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise ConfigError(
                f"recipe.prompt_texts is {texts!r}; expected two texts, normal and defective"
            )
        if not (self.use_taps or self.use_geometry):
            raise ConfigError("recipe.use_taps and recipe.use_geometry are both off; keep one")
        positive = ("batch_size", "epochs", "patch_temperature", "object_temperature")
        for name in (*positive, "geo_temperature", "clip_norm", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"recipe.{name} is {getattr(self, name)}; expected above 0")
        if not 0 <= self.warmup <= 1 or self.context_tokens < 0:
            raise ConfigError(
                f"recipe.warmup is {self.warmup} and recipe.context_tokens {self.context_tokens}; "
                "expected a share from 0 to 1, and 0 or more tokens"
            )

    @property
    def learns_prompts(self) -> bool:
        """Whether the text side has trainable parameters."""
        return self.prompts == "learned" and self.context_tokens > 0
