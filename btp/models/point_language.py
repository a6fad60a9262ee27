"""Point-language models: both towers, where their weights are, and loading them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from btp.errors import ConfigError, WeightsError
from btp.models.point_encoder import PointBERT, PointBERTConfig
from btp.models.text_encoder import TextConfig, TextEncoder
from btp.runtime.own_files import own_file
from btp.runtime.processor import multiplies_in_16_bit
from btp.types import Features
from btp.weights.published import FETCH
from btp.weights.records import Record, file_sha256, read_record, verify
from btp.weights.state_dict import fingerprint, load_strictly, read_checkpoint
from btp.weights.text_store import TextStore
from btp.weights.tokens import all_tokens, learned_tokens

TEXT_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of a point-language model and where its weights are: one of configs/encoder/*.yaml.

    Attributes:
        name: for results and paths.
        point_weights: file of the point encoder; None to build it untrained from `seed`.
        text_weights: file of the text tower; None likewise.
        heads: file of a detector that was trained with these weights, from which a training may
            start (`TrainConfig.heads`); None where there is none.
        text_dtype: "float32" or "bfloat16", of the frozen text tower while prompts are learned.
        seed: of an untrained model.
        point: sizes of the point encoder.
        text: sizes of the text tower.
    """

    name: str
    point_weights: str | None = None
    text_weights: str | None = None
    heads: str | None = None
    text_dtype: str = "float32"
    seed: int = 0
    point: PointBERTConfig = field(default_factory=PointBERTConfig)
    text: TextConfig = field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        if self.text_dtype not in TEXT_DTYPES:
            raise ConfigError(
                f"encoder.text_dtype is {self.text_dtype!r}; expected {' or '.join(TEXT_DTYPES)}"
            )


class PointLanguageModel:
    """Loads a frozen point encoder and the text tower of the same space, when first used."""

    def __init__(self, config: EncoderConfig, device: torch.device | str = "cpu") -> None:
        self.config = config
        self.device = torch.device(device)

    @property
    def trained(self) -> bool:
        """False where the encoder is random: results then say `encoder: untrained`."""
        return self.config.point_weights is not None

    @cached_property
    def heads_digest(self) -> str:
        """Hash of the file of heads that come with the encoder; "" where none do.

        Raises:
            WeightsError: if the file is missing.
        """
        if self.config.heads is None:
            return ""
        path = located(self.config.heads)
        if not Path(path).is_file():
            raise WeightsError(
                f"{path}: no such file; expected the heads of encoder {self.config.name}. Give "
                "their path as encoder.heads, or start from new ones with recipe.heads=new"
            )
        return file_sha256(path)

    @property
    def reads_surface(self) -> bool:
        """Whether the encoder needs `btp.geometry.local_geometry`'s channels of each point."""
        return self.config.point.constant_feature is None

    @cached_property
    def points(self) -> PointBERT:
        """The point encoder, frozen and in eval mode."""
        config = self.config
        if config.point_weights is not None:
            path = located(config.point_weights)
            _verify_if_there(path)
            return PointBERT.load(config.point, path).to(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(config.seed)
            model = PointBERT(config.point)
        return model.eval().requires_grad_(False).to(self.device)

    def encode(
        self,
        points: Tensor,
        surface: Tensor | None = None,
        patch_index: Tensor | None = None,
    ) -> Features:
        """Encode clouds [B, N, 3] on the model's device.

        Args:
            points: in the unit sphere.
            surface: float [B, N, F], kept with the features, and read where the encoder does.
            patch_index: int64 [B, G, K], as of `PointBERT.forward`.
        """
        features = self.points(points, surface if self.reads_surface else None, patch_index)
        return replace(features, surface=surface)

    @cached_property
    def text(self) -> TextEncoder:
        """The text tower that prompts are learned with, frozen and in eval mode.

        16-bit weights are multiplied in 16 bit where the device has instructions for that;
        elsewhere, where such products are several times slower, the same weights in float32.
        """
        tower = self._load_text(TEXT_DTYPES[self.config.text_dtype])
        return tower if multiplies_in_16_bit(self.device) else tower.float()

    def _load_text(self, dtype: torch.dtype) -> TextEncoder:
        config = self.config
        if config.text_weights is None:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(config.seed)
                model = TextEncoder(config.text).to(dtype)
        else:
            path = located(config.text_weights)
            _verify_if_there(path)
            state = read_checkpoint(path)
            learned = learned_tokens(state)
            state = all_tokens(state, torch.zeros(config.text.vocab_size, config.text.width))
            with torch.device("meta"):  # 700 M random numbers would take longer than loading
                model = TextEncoder(config.text)
            model.learned = learned
            cast = {name: tensor.to(dtype) for name, tensor in state.items()}
            load_strictly(model.tower, cast, path, assign=True)
        return model.eval().requires_grad_(False).to(self.device)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Encode fixed texts as float32 [P, D], L2-normalised, on the model's device.

        With fetched weights each text is encoded once, ever: its embedding is kept beside them, and
        while all texts are kept the text tower is not loaded, nor need its file be there.

        Raises:
            WeightsError: if the text tower is needed and cannot be loaded.
        """
        weights = self.config.text_weights and located(self.config.text_weights)
        record = None if weights is None else _verify_if_there(weights)
        if weights is None or record is None:
            return self.text(texts)
        store = TextStore.beside(weights, record.sha256)
        kept = store.read()
        new = sorted(set(texts) - kept.keys())
        if new:
            made = dict(zip(new, self._load_text(torch.float32)(new).cpu(), strict=True))
            store.add(made)
            kept |= made
        return torch.stack([kept[text] for text in texts]).to(self.device)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all weights and sizes of the point encoder, by which features are stored."""
        sizes = json.dumps(asdict(self.config.point), sort_keys=True)
        return fingerprint([*self.points.state_dict().items(), (sizes, torch.zeros(0))])

    @cached_property
    def text_fingerprint(self) -> str:
        """Hash of the file of the text tower's weights; "" where it is not there.

        Scoring does without the file, so nothing is loaded for this.
        """
        if self.config.text_weights is None:
            return f"untrained, seed {self.config.seed}"
        path = located(self.config.text_weights)
        record = _verify_if_there(path)
        if record is not None:
            return record.sha256[:16]
        return file_sha256(path)[:16] if Path(path).is_file() else ""


def require_weights(config: EncoderConfig, text: bool = False, heads: bool = False) -> None:
    """Raise an error that says how to get the weights, if some of an encoder's are not there.

    Nothing is loaded or made for it, so it can be asked before any work.

    Args:
        config: names the files.
        text: whether the text tower is needed too, as for learning prompts.
        heads: whether the heads that come with the encoder are, where it has some.

    Raises:
        WeightsError: names the missing files, and the ways to go on.
    """
    files = [config.point_weights, config.text_weights if text else None]
    files += [config.heads] if heads else []
    missing = [path for path in files if path is not None and not Path(located(path)).is_file()]
    if not missing:
        return
    get = "give their paths as encoder.point_weights, encoder.text_weights, encoder.heads"
    if config.name == "ulip2":
        get = f"{FETCH}, or encoder=mini for the embedded encoder"
    random = "encoder.point_weights=null encoder.text_weights=null"
    random += "" if config.heads is None else " encoder.heads=null"
    raise WeightsError(
        f"{', '.join(missing)}: no such file; expected the weights of encoder {config.name}. To "
        f"go on: {get}, or {random} for a dry run with random weights"
    )


def located(path: str) -> str:
    """Return where a weight file is: in the current folder, or else among the project's own."""
    own = own_file(path)
    return str(own) if not Path(path).exists() and own.exists() else path


def _verify_if_there(path: str) -> Record | None:
    """Return a weight file's record, and check the file against it unless it is missing."""
    return verify(path) if Path(path).is_file() else read_record(path)
