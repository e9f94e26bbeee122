"""Networks of the user's own: a `torch.nn.Module`, registered by a name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import safetensors.torch
from torch import nn

from hires_nst.backbones.description import PIXELS, Weights
from hires_nst.backbones.registry import register
from hires_nst.backbones.traced_layers import OwnBackbone
from hires_nst.backbones.tracing import Traced, trace
from hires_nst.errors import ConfigError

Values = tuple[float, float, float]


def register_network(
    name: str,
    module: nn.Module,
    *,
    style_layers: Sequence[str],
    content_layers: Sequence[str],
    layers: Sequence[str] = (),
    mean: Values = (0.0, 0.0, 0.0),
    std: Values = (1.0, 1.0, 1.0),
) -> None:
    """Make a module of your own the network of that name, for `Config(model={"name": name})` in this process.

    It takes part in everything that networks of the program do: tiles, half precision, workers. Strides and receptive
    fields are found in its operations. The module is copied, and evaluated as it is outside of training. Its weights
    are recorded with a run: to resume one, also with `hires_nst.resume`, register the same module again first. The
    workers of a batch import the calling script, so register it at the top of that; the command line does not know it.

    Args:
        name: a new one, or that of an earlier network of your own, which it replaces.
        module: takes (rgb - mean) / std, (1, 3, H, W), for an image in sRGB in [0, 1]; see `tracing.trace` for what it
            may consist of. Padding is that of `model.padding`, whatever it was trained with; convolutions and poolings
            of stride 1 keep the size of their input.
        style_layers, content_layers: the layers of the losses where the configuration names none, each with weight 1.
        layers: more layers that a configuration may name. All are names as in
            `torchvision.models.feature_extraction.get_graph_node_names`.

    Raises:
        ConfigError: the name is taken or empty, a value is not valid, or see `tracing.trace`.
    """
    if not name or any(not 0 < value < float("inf") for value in std):
        raise ConfigError("a network of your own needs a name, and a std above 0 for each channel")
    if PIXELS in (*style_layers, *content_layers, *layers):
        raise ConfigError(f"no layer of a network can be called {PIXELS!r}: that is the image itself")
    traced = trace(module, [*style_layers, *content_layers, *layers], name=name)
    register(
        OwnBackbone(
            name=name, mean=mean, std=std, description="your own, registered from Python", licence="your own",
            source="a module in this process", style_layers=tuple(style_layers), content_layers=tuple(content_layers),
            weights=Weights(provider="python", file="", sha256=_digest(traced, mean, std=std), url="", size=0),
            found=traced.graph, modules=traced.operations,
        )
    )  # fmt: skip


def _digest(traced: Traced, mean: Values, *, std: Values) -> str:
    """The SHA-256 of everything that the activations depend on."""
    state = {key: value.contiguous() for key, value in traced.operations.state_dict().items()}
    modules = [str(module) for module in traced.operations.values()]
    result = hashlib.sha256(repr((traced.graph, modules, tuple(mean), tuple(std))).encode())
    result.update(safetensors.torch.save(state))
    return result.hexdigest()
