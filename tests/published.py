"""Weight files in small, in the containers that ULIP-2 and OpenCLIP are published in."""

from __future__ import annotations

import argparse
from io import BytesIO

import torch
from fake_hub import FakeHub
from safetensors.torch import save
from tiny import ENCODER
from torch import Tensor

from btp.models.point_encoder import PointBERT
from btp.models.published_weights import POINT, TEXT
from btp.models.text_encoder import TextTower


def publish(hub: FakeHub) -> None:
    """Put both where they are published."""
    hub.add(f"datasets/{POINT.repo}", POINT.files[0], published_point())
    hub.add(TEXT.repo, TEXT.files[0], save(published_text()))


def published_point() -> bytes:
    """In the container that ULIP-2 is published in."""
    torch.manual_seed(1)
    state = {f"module.{k}": v for k, v in PointBERT(ENCODER.point).state_dict().items()}
    state["module.open_clip_model.logit_scale"] = torch.zeros(())
    container = {"epoch": 1, "state_dict": state, "args": argparse.Namespace(lr=1.0)}
    buffer = BytesIO()
    torch.save(container | {"optimizer": {"state": {}}}, buffer)
    return buffer.getvalue()


def published_text() -> dict[str, Tensor]:
    torch.manual_seed(2)
    images = {"visual.big": torch.randn(1000, 1000), "logit_scale": torch.tensor(4.6)}
    tower = TextTower(ENCODER.text).state_dict()
    return images | {name: tensor.detach() for name, tensor in tower.items()}
