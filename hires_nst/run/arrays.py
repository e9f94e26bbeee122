"""Tensors as the arrays that files hold, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from hires_nst.run.tensors import BFLOAT16, Array
from hires_nst.transfer.canvas import QUANTA
from hires_nst.transfer.moments import Statistics


def numpy_of(tensors: Mapping[str, Tensor]) -> dict[str, Array]:
    """Tensors as arrays, by name."""
    return {name: array_of(tensor.detach().cpu().contiguous()) for name, tensor in tensors.items()}


def array_of(tensor: Tensor) -> Array:
    """A tensor on the CPU as an array that shares its memory."""
    array: Array = tensor.view(torch.int16).numpy().view(BFLOAT16) if tensor.dtype == torch.bfloat16 else tensor.numpy()
    return array


def tensors_of(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """The opposite of `numpy_of`, see `tensor_of`."""
    return {name: tensor_of(array) for name, array in arrays.items()}


def tensor_of(array: Array) -> Tensor:
    """An array, which may be mapped from a file, as a tensor of its own memory; of uint16, quantised samples."""
    array = np.array(array)
    if array.dtype == BFLOAT16:
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    if array.dtype == np.uint16:
        return torch.from_numpy(array.astype(np.float32)).mul_(1 / QUANTA)  # as in `Canvas.quantise`
    return torch.from_numpy(array)


def arrays_of(statistics: Mapping[str, Statistics]) -> dict[str, Array]:
    """Statistics by layer as arrays for a file, named `layer.tensor`."""
    found = {layer: of_layer.tensors for layer, of_layer in statistics.items()}
    return numpy_of({f"{layer}.{name}": tensor for layer, tensors in found.items() for name, tensor in tensors.items()})


def statistics_of(arrays: Mapping[str, Array]) -> dict[str, Statistics]:
    """The opposite of `arrays_of`."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors_of(arrays).items():
        layer, _, name = key.partition(".")
        found.setdefault(layer, {})[name] = tensor
    return {layer: Statistics(tensors) for layer, tensors in found.items()}
