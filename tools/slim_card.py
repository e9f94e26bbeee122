"""The model card of the bundled network, from the records of its training and evaluation; see slim_card.md.j2."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from hires_nst.backbones.registry import VGG19
from hires_nst.backbones.vgg_layers import VGGBackbone

TEMPLATE = Path(__file__).with_name("slim_card.md.j2")


def model_card(backbone: VGGBackbone, weights: Path, training: Mapping[str, Any], tables: Mapping[str, str]) -> str:
    """The card as Markdown.

    Args:
        weights: the network's file.
        training: the content of training.json, written by `train_slim.py`.
        tables: `features`, `gradient`, `cost` and `criteria` of `evaluate_slim.py`.
    """
    options = training["options"]
    flags = [f"--{name} {_text(value)}" for name, value in options.items() if value is not None]
    template = Environment(undefined=StrictUndefined, keep_trailing_newline=True).from_string(TEMPLATE.read_text())
    return template.render(
        backbone=backbone,
        channels="; ".join(", ".join(str(width) for width in block) for block in backbone.blocks),
        parameters=sum(conv.out_channels * (9 * conv.in_channels + 1) for conv in backbone.convolutions) / 1e6,
        share=teacher_multiply_adds() / backbone.multiply_adds(),
        megabytes=weights.stat().st_size / 1e6,
        training=training,
        command=" ".join(["tools/train_slim.py", *flags]),
        tables=tables,
    )


def teacher_multiply_adds() -> float:
    """Multiply-adds of VGG-19 up to conv5_1, per pixel."""
    return dataclasses.replace(VGG19, blocks=(*VGG19.blocks[:4], VGG19.blocks[4][:1])).multiply_adds()


def _text(value: Any) -> str:
    if isinstance(value, list):  # widths
        return "/".join(",".join(str(width) for width in block) for block in value)
    return str(value)


def read_training(path: Path) -> dict[str, Any]:
    """The content of training.json, written by `train_slim.py`."""
    return dict(json.loads(path.read_text()))
