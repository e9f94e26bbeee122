"""Where and how precisely the network is evaluated."""

from __future__ import annotations

import torch

from hires_nst.config import Config
from hires_nst.errors import ConfigError


def autocast_of(config: Config, device: torch.device) -> torch.dtype | None:
    """The type that convolutions are computed in on a device; None for float32."""
    precision = config.runtime.precision
    if precision == "auto":
        precision = "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"
    return torch.bfloat16 if precision == "bfloat16" else None


def choose_device(name: str) -> torch.device:
    """The device of that name; `auto` is the first CUDA device, or else the CPU.

    Raises:
        ConfigError: this machine or this build of torch has it not.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        found = f"{count} CUDA device{'s' if count != 1 else ''}" if count else "no CUDA device"
        raise ConfigError(f"there is no device {name}: torch finds {found} here; --device cpu works everywhere")
    return device
