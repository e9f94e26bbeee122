"""A device that has no float64, like Apple's `mps`, made of the CPU: to torch it is `meta`, but it computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

FAKE = torch.device("meta")
MIXED = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default, torch.ops.aten.index.Tensor)
"""Operations that take tensors on two devices; the indices of one may be on the CPU."""


class OnDevice(torch.Tensor):
    """A tensor on the device; `on_cpu` is the same there, `made` is the number of all so far."""

    on_cpu: Tensor
    made = 0

    @staticmethod
    def __new__(cls, inner: Tensor) -> OnDevice:
        assert inner.dtype != torch.float64, "the device has no float64"
        OnDevice.made += 1
        found: OnDevice = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=FAKE,
        )  # fmt: skip
        found.on_cpu = inner
        return found

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return computed(func, args, kwargs or {})


class FakeDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, tensors can be made on and brought to the device."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What an operation gives; it must not mix devices, but for numbers, nor meet float64 on this one."""
    given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    ours = {id(tensor.on_cpu): tensor for tensor in given if isinstance(tensor, OnDevice)}
    if ours and func not in MIXED:
        others = [tensor for tensor in given if not isinstance(tensor, OnDevice)]
        assert all(tensor.ndim == 0 for tensor in others), f"{func} of tensors on two devices"
    device = kwargs.get("device")
    is_ours = bool(ours) if device is None else torch.device(device) == FAKE

    def plain(value: Any) -> Any:
        if isinstance(value, torch.device):
            return torch.device("cpu")
        return value.on_cpu if isinstance(value, OnDevice) else value

    def wrapped(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if func is torch.ops.aten.copy_.default:
            return args[0]
        if not is_ours:
            return value
        return ours[id(value)] if id(value) in ours else OnDevice(value)

    return tree_map(wrapped, func(*tree_map(plain, args), **tree_map(plain, dict(kwargs))))
