"""Published weight files: their tensors' names, their wrappers, and how to recognise wrong ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from btp.runtime.own_files import command_line

ULIP2_FILE = "ULIP-2-PointBERT-10k-xyzrgb-pc-vit_g-objaverse_shapenet-pretrained.pt"
FETCH = f"`{command_line('weights', 'fetch=ulip2')}`"

# All other tensors of OpenCLIP's files belong to the text tower.
OUTSIDE_TEXT_TOWER = ("visual.", "logit_scale", "logit_bias")


def unwrap(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a training checkpoint's state dict, without DistributedDataParallel's `module.`."""
    state = content.get("state_dict", content)
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def text_tower_state(content: Mapping[str, Any]) -> dict[str, Any]:
    """Select OpenCLIP's text tower and give it the names of `btp.models.text_encoder.TextTower`.

    Args:
        content: by name, whatever the values are: tensors, or the entries of a file's header.
    """
    state = {key.removeprefix("text."): value for key, value in unwrap(content).items()}
    return {k: v for k, v in state.items() if not k.startswith(OUTSIDE_TEXT_TOWER)}


def known_mistake(state: Mapping[str, Any]) -> str | None:
    """Say what a state dict is, if it is one that users often take for the right one.

    Args:
        state: by name, unwrapped.

    Returns:
        What it is and what to do, as the continuation of an error message's "holds ..."; None for
        a file that is not known.
    """
    names = [str(name) for name in state]

    def any_starts(*prefixes: str) -> bool:
        return any(name.startswith(prefixes) for name in names)

    right_one = f"the one of {ULIP2_FILE}, which {FETCH} gets, is needed"
    width = _shape(state, "pc_projection")[1:]
    channels = _shape(state, "point_encoder.encoder.first_conv.0.weight")[1:2]
    if "base_model" in state or any_starts("transformer_q.", "transformer_k."):
        return (
            "Point-BERT's own pretraining, before ULIP-2 aligned it with language (Point-BERT.pth "
            f"or dVAE.pth); {right_one}"
        )
    if "patch_geo_encoder" in state or any_starts("patch_geo_encoder.", "patch_feature_embedder."):
        return (
            "the trained heads of BTP's authors, not an encoder; "
            f"`{command_line('weights', 'convert=FILE')}` makes a detector of them"
        )
    if width == (512,) and not any_starts("point_encoder.cls_token"):
        return f"a ULIP-1 model with another point encoder than PointBERT; {right_one}"
    if width == (512,) and any_starts("visual.", "image_projection"):
        return (
            "a model in SLIP's 512-wide space, image and text tower included: ULIP-1, or ULIP-2's "
            f"early xyz-only model; {right_one}"
        )
    if width == (512,) or channels == (3,):
        return (
            f"ULIP-2's xyz-only model ({(channels or ('?',))[0]} input channels and a projection "
            f"{(width or ('?',))[0]} wide, where 6 and 1280 are needed); {right_one}"
        )
    if any_starts("visual.") and any_starts("token_embedding", "text.token_embedding"):
        return f"a whole CLIP model, not a point encoder; {right_one}"
    return None


def _shape(state: Mapping[str, Any], name: str) -> tuple[int, ...]:
    return tuple(getattr(state.get(name), "shape", ()))
