"""Layers of the losses by name, such as `cubist`: which layers of a network compare the pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from hires_nst.errors import nearest

STYLE_TOTAL = 5.0
"""The weights of a recipe's style layers are equal and add up to this, as the defaults do: in the papers, each is one
divided by their number (Gatys, Ecker, Bethge 2015)."""

EVERY_UP_TO = "all-up-to:"
"""Before the name of a layer: this layer and every one before it."""


@dataclass(frozen=True)
class Recipe:
    """Layers by the names of VGG's, as in the papers; each is taken after its rectifier."""

    style: tuple[str, ...]
    content: tuple[str, ...] = ("conv4_2",)


_GATYS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        # Gatys, Ecker, Bethge 2015 and 2016.
        "gatys": Recipe(_GATYS),
        # Johnson, Alahi, Fei-Fei 2016, of VGG-16; their published code has conv3_3 for the content.
        "johnson": Recipe(("conv1_2", "conv2_2", "conv3_3", "conv4_3"), ("conv2_2",)),
        # The shapes of the painting, without its fine strokes and with little of its palette.
        "cubist": Recipe(("conv4_1", "conv5_1")),
        # Colours and fine strokes: the third of the sets in figure 3 of Gatys, Ecker, Bethge 2015.
        "shallow": Recipe(("conv1_1", "conv2_1", "conv3_1")),
        # Broad strokes and shapes.
        "expressionist": Recipe(("conv3_1", "conv4_1", "conv5_1")),
        # The photograph by its objects rather than its outlines; the bundled network ends before conv5_2.
        "detailed": Recipe(_GATYS, ("conv5_2",)),
    }
)
"""Every recipe by name; read-only."""


def check_name(name: str) -> None:
    """Raise ValueError unless there is a recipe of that name; the layer after `all-up-to:` is not checked."""
    if name not in RECIPES and not name.startswith(EVERY_UP_TO):
        raise ValueError(f"there are no layers {name!r}{nearest(name, [*RECIPES, f'{EVERY_UP_TO}LAYER'])}")


def layers_of(name: str, known: Sequence[str]) -> dict[str, dict[str, float]]:
    """The layers of a recipe with their weights, by `style_layers` and `content_layers`.

    Layers that a network of the layers `known`, shallow to deep, does not have are among them; `all-up-to:LAYER` leaves
    the content layers out.
    """
    if name.startswith(EVERY_UP_TO):
        last = name.removeprefix(EVERY_UP_TO)
        style = known[: known.index(last) + 1] if last in known else (last,)
        return {"style_layers": dict.fromkeys(style, STYLE_TOTAL / len(style))}
    recipe = RECIPES[name]
    return {
        "style_layers": dict.fromkeys(recipe.style, STYLE_TOTAL / len(recipe.style)),
        "content_layers": dict.fromkeys(recipe.content, 1.0),
    }


def with_layers(settings: Mapping[str, Any], known: Sequence[str]) -> dict[str, Any]:
    """Settings, not checked yet, in which each recipe has set the layers that are not given beside it.

    That is `loss.layers`, and the same in `levels.overrides`; `known` are the layers of the network.
    """
    result = dict(settings)
    if (loss := _with_layers(settings.get("loss"), known)) is not None:
        result["loss"] = loss
    levels = _mapping(settings.get("levels"))
    overrides = [_mapping(override) for override in _list(levels.get("overrides"))]
    losses = [_with_layers(override.get("loss"), known) for override in overrides]
    if any(loss is not None for loss in losses):
        changed = [o if loss is None else {**o, "loss": loss} for o, loss in zip(overrides, losses, strict=True)]
        result["levels"] = {**levels, "overrides": changed}
    return result


def _with_layers(loss: Any, known: Sequence[str]) -> dict[str, Any] | None:
    """A section of losses with the layers of its recipe; None where it has none that is known."""
    given = _mapping(loss)
    name = given.get("layers")
    if not isinstance(name, str) or not (name in RECIPES or name.startswith(EVERY_UP_TO)):
        return None
    missing = {key: layers for key, layers in layers_of(name, known).items() if given.get(key) is None}
    return {**given, **missing}


def _mapping(value: Any) -> Mapping[str, Any]:
    """A section as the mapping of what is given in it; empty for anything else, which is refused elsewhere."""
    if isinstance(value, BaseModel):
        return value.model_dump(exclude_unset=True)
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Collection[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def refusal(name: str, missing: Sequence[str], *, network: str, known: Sequence[str], others: Sequence[str]) -> str:
    """The sentence about layers of a recipe that a network does not have.

    `known` are those that it has, and `others` the networks that have the missing ones.
    """
    if not others:
        return f"{name!r}: {network} has no layer {missing[0]!r}{nearest(missing[0], known)}"
    return (
        f"{name!r} needs {', '.join(missing)}, which {network} does not have; choose --model {others[0]}, or name "
        "layers that it has under style_layers and content_layers"
    )
