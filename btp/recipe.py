"""Recipes: every setting of a training, and every place where paper and release differ.

Each of those places is one named switch. Their numbers D1, D2, ... are used all over the project:
README, footnotes of tables, configs/recipe/*.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from btp.config import build, refuse_unknown
from btp.errors import ConfigError
from btp.losses import LossWeights
from btp.runtime.own_files import command_line


@dataclass(frozen=True)
class PromptConfig:
    """The two prompts, normal and defective.

    Attributes:
        prompts: D1. Context tokens are trained ("learned"), or the prompts are "fixed" text.
        prompt_texts: normal and defective text, tokenised after the context.
        context_tokens: D2. Learned tokens between [start] and the text; the end token moves behind
            them, and the sequence stays within the text tower's context.
    """

    prompts: Literal["learned", "fixed"] = "learned"
    prompt_texts: tuple[str, str] = ("normal object.", "defective object.")
    context_tokens: int = 4

    def __post_init__(self) -> None:
        _check_choices(self)
        texts = self.prompt_texts
        if len(texts) != 2 or not all(isinstance(text, str) for text in texts):
            raise ConfigError(
                f"recipe.prompt_texts is {texts!r}; expected two texts, normal and defective"
            )
        if self.context_tokens < 0:
            raise ConfigError(
                f"recipe.context_tokens is {self.context_tokens}; expected 0 or more tokens"
            )

    @property
    def learned(self) -> bool:
        """Whether the text side has trainable parameters."""
        return self.prompts == "learned" and self.context_tokens > 0


@dataclass(frozen=True)
class DetectorConfig:
    """What a detector computes from a cloud's features and two text embeddings.

    Attributes:
        object_score: D3. Sigmoid of the global logit joined with the highest patch logit ("max"),
            or the global probability joined with the mean of the highest 20 % of patch
            probabilities ("top20"), or as "max" with each patch logit averaged over the 12 nearest
            patches ("smooth").
        patch_temperature: D5. Divides the patch logits.
        object_temperature: divides the global logits (Eq. 1).
        object_alpha: D18. Share of the global score in Eq. 6; the rest is the patches'.
        patch_similarity: D14. Patches are compared with the texts by the "cosine", as objects are
            in Eq. 1, or by the "product" with embeddings that are not normalised.
        uncovered: D6. Points in no patch get the probability 0 ("zero"), or that of their
            "nearest" patch.
        gfcm_input: D7. Points as GFCM sees them: their normalised coordinates ("absolute"),
            coordinates relative to the patch's centre in units of its radius ("centred"), or the
            local geometry of the scan's surface there ("surface").
        gfcm_output: D15. Width of GFCM's descriptor: that of the "text" embeddings, or the 33
            values of "fpfh".
        geo_projection: D16. phi_geo, which maps the descriptor to FPFH's 33 values before Eq. 7:
            one "linear" layer, or "none": the descriptor is contrasted as it is.
        projection: D9. Maps into the text space: one "linear" layer, or a two-layer "mlp".
        fusion: D17. phi_f of Eq. 4: one "linear" layer, or a two-layer "mlp".
        use_taps: Table 4's module MGFEM: the encoder's taps and CLS token are read.
        use_geometry: Table 4's module GFCM: the geometric descriptor is computed and read.
    """

    object_score: Literal["max", "top20", "smooth"] = "max"
    object_alpha: float = 0.5
    patch_similarity: Literal["cosine", "product"] = "cosine"
    patch_temperature: float = 0.07
    object_temperature: float = 0.07
    uncovered: Literal["zero", "nearest"] = "zero"
    gfcm_input: Literal["absolute", "centred", "surface"] = "absolute"
    gfcm_output: Literal["text", "fpfh"] = "text"
    geo_projection: Literal["linear", "none"] = "linear"
    projection: Literal["linear", "mlp"] = "linear"
    fusion: Literal["linear", "mlp"] = "linear"
    use_taps: bool = True
    use_geometry: bool = True

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_positive(self, "patch_temperature", "object_temperature")
        if not (self.use_taps or self.use_geometry):
            raise ConfigError("recipe.use_taps and recipe.use_geometry are both off; keep one")
        if not 0 <= self.object_alpha <= 1:
            raise ConfigError(
                f"recipe.object_alpha is {self.object_alpha}; expected a share from 0 to 1"
            )
        if self.gfcm_output == "text" and self.geo_projection == "none":
            raise ConfigError(
                "recipe.geo_projection=none contrasts GFCM's output with FPFH's 33 values, and "
                "recipe.gfcm_output=text makes it as wide as the texts; choose gfcm_output=fpfh, "
                "or geo_projection=linear"
            )

    @property
    def reads_surface(self) -> bool:
        """Whether the features must hold the surface channels of each point."""
        return self.use_geometry and self.gfcm_input == "surface"


@dataclass(frozen=True)
class TrainConfig:
    """How the heads and the prompts are trained.

    Attributes:
        train_split: D13. Split of the train category that holds its annotated scans.
        fpfh_cloud: D8. FPFH, the target of Eq. 7, is computed on the "sampled" points with fixed
            radii, or on the "dense" cloud with radii from its spacing.
        geo_temperature: D10. Temperature of Eq. 7's one-directional InfoNCE.
        batch_size, shuffle, drop_last: D11. Batches of each epoch.
        keep: D12. Which epoch's weights are kept: that of the lowest mean training loss, or the
            last.
        heads: start from "new" heads, or from the "pretrained" ones that come with the encoder
            (new ones where none do), whose norms keep their statistics.
        epochs: passes over the annotated scans.
        learning_rate, prompt_learning_rate, min_learning_rate: highest rate of the heads and of the
            prompts, and the lowest of both.
        weight_decay: of the heads' weights; not of biases, norms and prompts.
        warmup, warmup_factor: share of all steps in which the rate grows, and its first value as a
            share of the highest.
        clip_norm: longest gradient.
    """

    train_split: Literal["test", "train"] = "test"
    fpfh_cloud: Literal["sampled", "dense"] = "sampled"
    geo_temperature: float = 0.1
    batch_size: int = 2
    shuffle: bool = False
    drop_last: bool = True
    keep: Literal["lowest_loss", "last"] = "lowest_loss"
    heads: Literal["new", "pretrained"] = "new"
    epochs: int = 100
    learning_rate: float = 5e-4
    prompt_learning_rate: float = 1e-3
    min_learning_rate: float = 1e-6
    weight_decay: float = 1e-4
    warmup: float = 0.1
    warmup_factor: float = 0.1
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        _check_choices(self)
        _check_positive(
            self, "batch_size", "epochs", "geo_temperature", "clip_norm", "learning_rate"
        )
        if not 0 <= self.warmup <= 1:
            raise ConfigError(f"recipe.warmup is {self.warmup}; expected a share from 0 to 1")


@dataclass(frozen=True)
class Recipe:
    """All settings of a training; by default the paper's, or the release's where it is silent.

    Config files, the command line and files on disk know one flat mapping of all settings; only the
    loss weights are nested there.

    Attributes:
        name: stands in results and paths.
        variant: row of Table 4 that the modules and losses make.
        prompt: the two prompts.
        detector: what is computed.
        training: how it is trained.
        loss: weights of Eq. 8's terms.
    """

    name: str = "paper"
    variant: str = "full"
    prompt: PromptConfig = field(default_factory=PromptConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    training: TrainConfig = field(default_factory=TrainConfig)
    loss: LossWeights = field(default_factory=LossWeights)

    @classmethod
    def from_flat(cls, settings: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """Make a recipe from the flat mapping of a config file or command line.

        Args:
            settings: values by name; those left out keep the paper's.
            where: what error messages call the mapping.

        Raises:
            ConfigError: for an unknown key or a value that cannot be.
        """
        if "pro" in settings:
            raise ConfigError(
                f"{where}.pro is no setting of a recipe: AU-PRO and coverage AUC are both measured "
                "always. Choose what the tables print with pro=standard or pro=coverage of "
                f"`{command_line('eval')}`"
            )
        part_of = {each.name: part for part, kind in _PARTS.items() for each in fields(kind)}
        refuse_unknown(settings, {*part_of, "name", "variant", "loss"}, where)
        parts: dict[str, Any] = {
            part: build(kind, {k: v for k, v in settings.items() if part_of.get(k) == part}, where)
            for part, kind in _PARTS.items()
        }
        return build(cls, {k: v for k, v in settings.items() if k not in part_of} | parts, where)

    @classmethod
    def from_file(cls, settings: Mapping[str, Any], where: str) -> Recipe:
        """Make a recipe from the flat mapping in a file that this or an earlier version wrote.

        Switches that the file's version did not have get the values that it computed with.

        Raises:
            ConfigError: for a setting that no version knows.
        """
        known = {k: v for k, v in settings.items() if k not in _RETIRED}
        return cls.from_flat(_BEFORE_SWITCHES | known, where)

    def flat(self) -> dict[str, Any]:
        """Return all settings as one flat mapping: the inverse of `from_flat`."""
        settings: dict[str, Any] = {"name": self.name, "variant": self.variant}
        for part in _PARTS:
            settings |= asdict(getattr(self, part))
        return settings | {"loss": asdict(self.loss)}

    def changed(self, **settings: Any) -> Recipe:
        """Return a copy with other values of some settings, given by their flat names."""
        return Recipe.from_flat(self.flat() | settings)


_PARTS: dict[str, type] = {
    "prompt": PromptConfig,
    "detector": DetectorConfig,
    "training": TrainConfig,
}
_RETIRED = {"pro"}  # D4 was a switch of the recipe, and is now one of the report
_BEFORE_SWITCHES = {  # what every recipe computed with before version 0.3.0
    "object_alpha": 0.5,
    "patch_similarity": "product",
    "gfcm_output": "fpfh",
    "geo_projection": "none",
    "fusion": "mlp",
}


def _check_choices(config: Any) -> None:
    """Raise ConfigError where a field's value is none of its choices."""
    hints = get_type_hints(type(config))
    for switch in fields(config):
        value, hint = getattr(config, switch.name), hints[switch.name]
        if get_origin(hint) is Literal and value not in get_args(hint):
            raise ConfigError(
                f"recipe.{switch.name} is {value!r}; expected one of {', '.join(get_args(hint))}"
            )


def _check_positive(config: Any, *names: str) -> None:
    for name in names:
        if not getattr(config, name) > 0:
            raise ConfigError(f"recipe.{name} is {getattr(config, name)}; expected above 0")
