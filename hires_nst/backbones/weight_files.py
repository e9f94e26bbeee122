"""What is in a file of weights: read without unpickling, checked, and brought to the names that networks use."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from hires_nst.backbones.description import Backbone
from hires_nst.backbones.traced_layers import TorchvisionBackbone
from hires_nst.backbones.vgg_layers import VGGBackbone
from hires_nst.errors import WeightsError

_READ_ERRORS = (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, SafetensorError)
"""What torch and safetensors raise over a damaged file."""

_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
_NORM_EPS = 1e-5
"""Of torchvision's VGGs with batch norm."""

_COUNTER = "num_batches_tracked"
"""Of batch norms; files from before it was there lack it, and outside of training nothing needs it."""


def read_file(file: Path) -> dict[str, Any]:
    """The tensors of a weight file by key; nothing in it is executed.

    Raises:
        WeightsError: there is no such file, or it holds something else.
    """
    if not file.is_file():
        raise WeightsError(f"there is no weight file {file}; check the name and the folder")
    try:
        with file.open("rb") as opened:
            head = opened.read(9)
        is_safetensors = head[8:] == b"{"
        if not is_safetensors and not head.startswith((b"PK", b"\x80")):  # neither an archive nor a pickle
            raise WeightsError(
                f"{file} is not a file of weights; give a .safetensors or .pth file, or leave model.weights out for "
                "the network's own"
            )
        if is_safetensors:
            return dict(load_file(file))
        # Files from before PyTorch 1.6, such as torchvision's VGGs, are not archives and cannot be mapped.
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{file} is damaged, or holds more than weights, and was not loaded; give a .safetensors file or a PyTorch "
            "file of a plain state dictionary"
        ) from None
    except _READ_ERRORS as error:
        reason = getattr(error, "strerror", None)
        what = (
            f"cannot be read ({reason}); check its permissions" if reason else "is damaged or cut short; get it again"
        )
        raise WeightsError(f"the weight file {file} {what}") from None
    if not isinstance(loaded, dict):
        raise WeightsError(
            f"{file} holds a {type(loaded).__name__} instead of weights; save the network's state dictionary, "
            "`torch.save(model.state_dict(), file)`"
        )
    return {str(key): value for key, value in loaded.items()}


def checked_weights(backbone: Backbone, stored: Mapping[str, Any], *, file: Path) -> dict[str, Tensor]:
    """The weights of `backbone` from what a file holds, as float32.

    Returns:
        For a VGG `convN_M.weight` of shape (out, in, 3, 3), for RGB, and `convN_M.bias` of shape (out,), with the batch
        norms folded in, if there are any; for torchvision's other networks its state dictionary.

    Raises:
        WeightsError: it is another network's file, or damaged.
    """
    if isinstance(backbone, VGGBackbone):
        renamed = torchvision_names(backbone)
        tensors = {renamed.get(key, key): value for key, value in stored.items() if not key.startswith("classifier.")}
        if backbone.channel_order == "bgr" and "classifier.0.weight" in stored:
            raise _foreign(backbone, file, why="its classifier has torchvision's names, so it is for images in RGB")
        return _for_rgb(backbone, _checked(backbone, tensors, shapes=_vgg_shapes(backbone), file=file))
    shapes = _state_shapes(backbone.model) if isinstance(backbone, TorchvisionBackbone) else {}
    return _checked(backbone, stored, shapes=shapes, file=file)


def tells_order(stored: Mapping[str, Any]) -> bool:
    """Whether a VGG's file shows for which channel order it is.

    A classifier does, whose layers are numbered otherwise in files for RGB, and so do the papers' names, which files
    for BGR have. Convolutions alone under torchvision's names do not.
    """
    return any(key.startswith("classifier.") for key in stored) or not any(
        key.startswith("features.") for key in stored
    )


def _for_rgb(backbone: VGGBackbone, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of convolutions alone, for images in RGB."""
    result: dict[str, Tensor] = {}
    for conv in backbone.convolutions:
        weight, bias = weights[f"{conv.name}.weight"], weights[f"{conv.name}.bias"]
        if backbone.batch_norm:
            scale, shift, mean, variance = (weights[f"{_norm_of(conv.name)}.{part}"] for part in _NORM_PARTS)
            weight, bias = fuse_conv_bn_weights(
                weight, bias, bn_rm=mean, bn_rv=variance, bn_eps=_NORM_EPS, bn_w=scale, bn_b=shift
            )
        result[f"{conv.name}.weight"], result[f"{conv.name}.bias"] = weight.detach(), bias.detach()
    if backbone.channel_order == "bgr":
        first = f"{backbone.convolutions[0].name}.weight"
        result[first] = result[first].flip(1)
    return result


def torchvision_names(backbone: VGGBackbone) -> dict[str, str]:
    """torchvision's key of each weight to the papers': `features.0.weight` to `conv1_1.weight`, and so on.

    torchvision numbers convolutions, batch norms, rectifiers and poolings alike; a norm has the number of its
    convolution here, as in `norm1_1.weight`.
    """
    names: dict[str, str] = {}
    index = 0
    for block, widths in enumerate(backbone.blocks, start=1):
        for position in range(1, len(widths) + 1):
            conv = f"conv{block}_{position}"
            names |= {f"features.{index}.{part}": f"{conv}.{part}" for part in ("weight", "bias")}
            if backbone.batch_norm:
                names |= {f"features.{index + 1}.{part}": f"{_norm_of(conv)}.{part}" for part in _NORM_PARTS}
            index += 3 if backbone.batch_norm else 2
        index += 1
    return names


def _norm_of(conv: str) -> str:
    return conv.replace("conv", "norm")


def _vgg_shapes(backbone: VGGBackbone) -> dict[str, tuple[int, ...]]:
    """The shapes of a VGG's weights, by the papers' names."""
    shapes: dict[str, tuple[int, ...]] = {}
    for conv in backbone.convolutions:
        shapes[f"{conv.name}.weight"] = (conv.out_channels, conv.in_channels, 3, 3)
        shapes[f"{conv.name}.bias"] = (conv.out_channels,)
        if backbone.batch_norm:
            shapes |= {f"{_norm_of(conv.name)}.{part}": (conv.out_channels,) for part in _NORM_PARTS}
    return shapes


@cache
def _state_shapes(model: str) -> Mapping[str, tuple[int, ...]]:
    """The shapes of the weights of a network of torchvision's."""
    from hires_nst.backbones.tracing import torchvision_model  # torchvision is not needed otherwise

    with torch.device("meta"):
        state = torchvision_model(model).state_dict()
    return {key: tuple(value.shape) for key, value in state.items() if not key.endswith(_COUNTER)}


def _checked(
    backbone: Backbone, tensors: Mapping[str, Any], *, shapes: Mapping[str, tuple[int, ...]], file: Path
) -> dict[str, Tensor]:
    """The tensors of these shapes; WeightsError if they are not all there, or others too."""
    rest = {key: value for key, value in tensors.items() if not key.endswith(_COUNTER)}
    weights: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        tensor = rest.pop(key, None)
        if not isinstance(tensor, Tensor):
            raise _foreign(backbone, file, why=f"it lacks {key}")
        if tuple(tensor.shape) != shape or not tensor.is_floating_point():
            kind = f"{tensor.dtype} of shape {tuple(tensor.shape)}".removeprefix("torch.")
            raise _foreign(backbone, file, why=f"its {key} is {kind} instead of numbers of shape {shape}")
        weights[key] = tensor.detach().to(torch.float32)
        if not bool(weights[key].isfinite().all()):
            raise WeightsError(f"{file} is damaged: its {key} has values that are NaN or infinite; get it again")
    if rest or not weights:
        raise _foreign(backbone, file, why=f"{backbone.name} has no {next(iter(rest), 'file')}")
    for key, values in weights.items():
        if values.ndim == 4 and bool((values == values.flatten()[0]).all()):  # of a convolution
            raise WeightsError(f"{file} is damaged: the values of its {key} are all the same; get it again")
    return weights


def _foreign(backbone: Backbone, file: Path, *, why: str) -> WeightsError:
    """The error about a file that is not one of a network."""
    return WeightsError(
        f"{file} is not a file of {backbone.name}: {why}; give one of {backbone.name}, or leave model.weights out for "
        "its own weights"
    )
