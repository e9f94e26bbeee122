"""The networks' weights: bundled, downloaded or imported; checked by SHA-256; never unpickled."""

from __future__ import annotations

import pickle
import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hires_nst.backbones.download import download
from hires_nst.backbones.registry import BACKBONES, Backbone, Pooling
from hires_nst.backbones.vgg import VGG, Padding
from hires_nst.errors import OutputError, WeightsError
from hires_nst.events import Notice, OnEvent, ignore
from hires_nst.files import atomic_write, make_folder, sha256_of


@dataclass(frozen=True)
class WeightsCheck:
    """Whether a network's weights are as published; the message says what to do if not."""

    name: str
    state: Literal["ok", "missing", "damaged"]
    message: str


_READ_ERRORS = (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, SafetensorError)
"""What torch and safetensors raise over a damaged file."""


def bundled_file(backbone: Backbone) -> Path:
    """The place of a bundled network's file, inside this package."""
    return Path(__file__).parent / "data" / backbone.weights.file


def cache_file(backbone: Backbone) -> Path:
    """The place of a downloaded file: torch's own hub cache, which TORCH_HOME moves."""
    return Path(torch.hub.get_dir()) / "checkpoints" / backbone.weights.file


def own_file(backbone: Backbone) -> Path:
    """The place of a network's own weights, whether the file exists or not."""
    return bundled_file(backbone) if backbone.is_bundled else cache_file(backbone)


def load_network(
    backbone: Backbone,
    *,
    pooling: Pooling,
    padding: Padding,
    file: Path | None = None,
    on_event: OnEvent = ignore,
) -> VGG:
    """The network with its weights, on the CPU; arguments and errors as `load_weights` and `VGG`."""
    return VGG(backbone, load_weights(backbone, file=file, on_event=on_event), pooling=pooling, padding=padding)


def load_weights(backbone: Backbone, *, file: Path | None = None, on_event: OnEvent = ignore) -> dict[str, Tensor]:
    """A network's weights.

    Args:
        file: a .safetensors or .pth file in place of the network's own, with torchvision's names or the papers'.
        on_event: receives the progress of a download, when one is needed, and a notice of a file that is not the
            published one.

    Returns:
        `convN_M.weight` of shape (out, in, 3, 3) and `convN_M.bias` of shape (out,), float32, for each convolution.

    Raises:
        WeightsError: the file does not exist and cannot be downloaded, is damaged, or is another network's.
    """
    if file is not None:
        return _loaded(backbone, file, on_event=on_event)
    own = own_file(backbone)
    if backbone.is_bundled:
        check = verify(backbone)  # small enough to be checked each time
        if check.state != "ok":
            raise WeightsError(check.message)
    elif not own.is_file():
        own = fetch(backbone, on_event=on_event)
    return _checked(backbone, _read(own), file=own)


def fetch(backbone: Backbone, *, on_event: OnEvent = ignore) -> Path:
    """Download a network's file into the cache, where it appears complete and checked or not at all.

    Raises:
        WeightsError: see `download`; the cache cannot be written. ResourceError: the disk is full.
    """
    if backbone.is_bundled:
        raise WeightsError(
            f"{backbone.name} comes with the program, so there is nothing to download; it can be used as it is"
        )
    return _write_to_cache(backbone, lambda target: download(backbone, target, on_event=on_event))


def import_file(backbone: Backbone, file: Path, *, digest: str | None = None) -> Path:
    """Copy a network's published file into the cache.

    Args:
        digest: that of the file, if it is known.

    Raises:
        WeightsError: the file is not the published one.
        ResourceError: the disk is full.
    """
    if backbone.is_bundled:
        raise WeightsError(
            f"{backbone.name} comes with the program, so there is nothing to import; to paint with {file}, set "
            "model.weights"
        )
    digest = digest or digest_of(file)
    if not backbone.weights.matches(digest):
        raise WeightsError(
            f"{file} is not the published file of {backbone.name} (its SHA-256 begins with {digest[:8]}, not "
            f"{backbone.weights.sha256[:8]}); to use it anyway, set model.weights={file} for a run"
        )
    _checked(backbone, _read(file), file=file)

    def copy(target: BinaryIO) -> None:
        with file.open("rb") as source:
            shutil.copyfileobj(source, target)

    return _write_to_cache(backbone, copy)


def identify(file: Path, *, digest: str | None = None, networks: Mapping[str, Backbone] = BACKBONES) -> Backbone:
    """The network that a file is for: by its digest, which may be known, otherwise by its keys and shapes.

    Raises:
        WeightsError: it is for none of the `networks`.
    """
    digest = digest or digest_of(file)
    for backbone in networks.values():
        if backbone.weights.sha256 and backbone.weights.matches(digest):
            return backbone
    found = _network_of(_read(file), networks, file=file)
    if found is not None:
        return found
    raise WeightsError(
        f"{file} does not contain the weights of a known network ({', '.join(networks)}); check the file"
    )


def verify(backbone: Backbone) -> WeightsCheck:
    """Compare a network's file with its published SHA-256."""
    file = own_file(backbone)
    remedy = "install hires-nst again" if backbone.is_bundled else f"run `hires-nst models fetch {backbone.name}`"
    if not file.is_file():
        return WeightsCheck(backbone.name, "missing", f"{backbone.name} has no weights at {file}; {remedy}")
    digest = digest_of(file)
    if backbone.weights.matches(digest):
        return WeightsCheck(backbone.name, "ok", f"{backbone.name} matches the published checksum: {file}")
    message = f"{file} is damaged (its SHA-256 begins with {digest[:8]}, not {backbone.weights.sha256[:8]}); {remedy}"
    return WeightsCheck(backbone.name, "damaged", message)


def torchvision_names(backbone: Backbone) -> dict[str, str]:
    """torchvision's key of each weight to the papers': `features.0.weight` to `conv1_1.weight`, and so on.

    torchvision numbers convolutions, rectifiers and poolings alike.
    """
    names: dict[str, str] = {}
    index = 0
    for block, widths in enumerate(backbone.blocks, start=1):
        for position in range(1, len(widths) + 1):
            for part in ("weight", "bias"):
                names[f"features.{index}.{part}"] = f"conv{block}_{position}.{part}"
            index += 2
        index += 1
    return names


def _loaded(backbone: Backbone, file: Path, *, on_event: OnEvent) -> dict[str, Tensor]:
    """The weights in a user's file; raises as `load_weights`."""
    stored = _read(file)
    try:
        weights = _checked(backbone, stored, file=file)
    except WeightsError:
        other = _network_of(stored, BACKBONES, file=file)
        if other is None:
            raise
        raise WeightsError(
            f"{file} holds the weights of {other.name}, not of {backbone.name}; add --model {other.name}, or leave "
            f"model.weights out for those of {backbone.name}"
        ) from None
    if not backbone.weights.matches(digest_of(file)):
        on_event(
            Notice(
                f"{file} is not the published file of {backbone.name}, so the picture depends on what is in it; leave "
                "model.weights out for the published weights"
            )
        )
    return weights


def _read(file: Path) -> dict[str, Any]:
    """The tensors of a weight file by key; nothing in it is executed."""
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


def _checked(backbone: Backbone, stored: Mapping[str, Any], *, file: Path) -> dict[str, Tensor]:
    """The weights of `backbone` from what a file holds, renamed, as float32."""
    renamed = torchvision_names(backbone)
    tensors = {renamed.get(key, key): value for key, value in stored.items() if not key.startswith("classifier.")}
    weights: dict[str, Tensor] = {}
    for conv in backbone.convolutions:
        shapes = {"weight": (conv.out_channels, conv.in_channels, 3, 3), "bias": (conv.out_channels,)}
        for part, shape in shapes.items():
            key = f"{conv.name}.{part}"
            tensor = tensors.pop(key, None)
            if not isinstance(tensor, Tensor):
                raise _foreign(backbone, file, why=f"it lacks {key}")
            if tuple(tensor.shape) != shape or not tensor.is_floating_point():
                kind = f"{tensor.dtype} of shape {tuple(tensor.shape)}".removeprefix("torch.")
                raise _foreign(backbone, file, why=f"its {key} is {kind} instead of numbers of shape {shape}")
            weights[key] = tensor.detach().to(torch.float32)
            if not bool(weights[key].isfinite().all()):
                raise WeightsError(f"{file} is damaged: its {key} has values that are NaN or infinite; get it again")
    if tensors:
        raise _foreign(backbone, file, why=f"{backbone.name} has no {next(iter(tensors))}")
    for key, values in weights.items():
        if key.endswith(".weight") and bool((values == values.flatten()[0]).all()):
            raise WeightsError(f"{file} is damaged: the values of its {key} are all the same; get it again")
    return weights


def _network_of(stored: Mapping[str, Any], networks: Mapping[str, Backbone], *, file: Path) -> Backbone | None:
    """The first network that what a file holds fits, if there is one."""
    for backbone in networks.values():
        with suppress(WeightsError):
            _checked(backbone, stored, file=file)
            return backbone
    return None


def _foreign(backbone: Backbone, file: Path, *, why: str) -> WeightsError:
    """The error about a file that is not one of a network."""
    return WeightsError(
        f"{file} is not a file of {backbone.name}: {why}; give one of {backbone.name}, or leave model.weights out for "
        "its own weights"
    )


def digest_of(file: Path) -> str:
    """The SHA-256 of a weight file, in hexadecimal; WeightsError if it cannot be read."""
    try:
        return sha256_of(file)
    except OSError as error:
        raise WeightsError(
            f"cannot read the weight file {file}: {error.strerror}; check its name and permissions"
        ) from None


def _write_to_cache(backbone: Backbone, write: Callable[[BinaryIO], None]) -> Path:
    """Write a network's file in the cache with `write`, which receives it opened."""
    target = cache_file(backbone)
    try:
        make_folder(target.parent)
        atomic_write(target, write, overwrite=True)
    except (OSError, OutputError) as error:
        raise WeightsError(
            f"cannot write {target} ({getattr(error, 'strerror', None) or error}); set TORCH_HOME to a folder that may "
            "be written to"
        ) from None
    return target
