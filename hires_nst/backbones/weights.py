"""The networks' weights: bundled, downloaded or imported; checked by SHA-256; never unpickled."""

from __future__ import annotations

import hashlib
import http.client
import pickle
import shutil
import ssl
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from hires_nst.backbones.registry import BACKBONES, Backbone, Pooling
from hires_nst.backbones.vgg import VGG, Padding
from hires_nst.errors import OutputError, WeightsError
from hires_nst.events import DownloadProgress, OnEvent, ignore
from hires_nst.files import atomic_write, sha256_of

WeightsState = Literal["ok", "missing", "damaged"]

CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without an answer after which a download is given up."""

# What may go wrong on the network, and whatever torch and safetensors raise over a file that is not as it should be.
_DOWNLOAD_ERRORS = (
    *(urllib.error.URLError, http.client.HTTPException, ssl.SSLError),
    *(TimeoutError, ConnectionError, ValueError),
)
_READ_ERRORS = (OSError, EOFError, RuntimeError, ValueError, LookupError, TypeError, AttributeError, SafetensorError)


def bundled_file(backbone: Backbone) -> Path:
    """Where a bundled network's file is, inside this package."""
    return Path(__file__).parent / "data" / backbone.weights.file


def cache_file(backbone: Backbone) -> Path:
    """Where a downloaded file is kept: torch's own hub cache, which TORCH_HOME moves."""
    return Path(torch.hub.get_dir()) / "checkpoints" / backbone.weights.file


def own_file(backbone: Backbone) -> Path:
    """Where a network's own weights are, or would be."""
    return bundled_file(backbone) if backbone.weights.provider == "bundled" else cache_file(backbone)


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
        on_event: told how a download goes, when one is needed.

    Returns:
        `convN_M.weight` of shape (out, in, 3, 3) and `convN_M.bias` of shape (out,), float32, for each convolution.

    Raises:
        WeightsError: there is no such file and no way to get it, it is damaged, or it is another network's.
    """
    if file is not None:
        return _checked(backbone, _read(file), file)
    own = own_file(backbone)
    if backbone.weights.provider == "bundled":
        state, sentence = verify(backbone)  # small enough to be checked each time
        if state != "ok":
            raise WeightsError(sentence)
    elif not own.is_file():
        own = fetch(backbone, on_event)
    return _checked(backbone, _read(own), own)


def fetch(backbone: Backbone, on_event: OnEvent = ignore) -> Path:
    """Download a network's file into the cache, where it appears complete and checked or not at all.

    Raises:
        WeightsError: there is no network, the server refuses, or what came is not the published file.
        ResourceError: the disk is full.
    """
    if not backbone.weights.url:
        raise WeightsError(f"{backbone.name} comes with the program, so there is nothing to download")

    def download(target: BinaryIO) -> None:
        digest = _download(backbone, target, on_event)
        if not _matches(backbone, digest):
            raise WeightsError(
                f"what {backbone.weights.url} sent is not the published file (its SHA-256 begins with {digest[:8]}, "
                f"not {backbone.weights.sha256[:8]}) and was thrown away; try again, or get the file in another way "
                "and run `hires-nst models import FILE`"
            )

    return _into_cache(backbone, download)


def import_file(backbone: Backbone, file: Path) -> Path:
    """Copy a network's published file into the cache.

    Raises:
        WeightsError: the file is not the published one.
        ResourceError: the disk is full.
    """
    if backbone.weights.provider == "bundled":
        raise WeightsError(f"{backbone.name} comes with the program, so there is nothing to import")
    digest = _digest(file)
    if not _matches(backbone, digest):
        raise WeightsError(
            f"{file} is not the published file of {backbone.name} (its SHA-256 begins with {digest[:8]}, not "
            f"{backbone.weights.sha256[:8]}); to use it all the same, set model.weights={file} for a run"
        )
    _checked(backbone, _read(file), file)

    def copy(target: BinaryIO) -> None:
        with file.open("rb") as source:
            shutil.copyfileobj(source, target, CHUNK)

    return _into_cache(backbone, copy)


def identify(file: Path, known: Mapping[str, Backbone] = BACKBONES) -> Backbone:
    """The network that a file is for: by its digest, otherwise by its keys and shapes.

    Raises:
        WeightsError: none of the known ones.
    """
    digest = _digest(file)
    for backbone in known.values():
        if backbone.weights.sha256 and _matches(backbone, digest):
            return backbone
    tensors = _read(file)
    for backbone in known.values():
        try:
            _checked(backbone, tensors, file)
        except WeightsError:
            continue
        return backbone
    raise WeightsError(f"{file} holds none of the networks that the program knows ({', '.join(known)})")


def verify(backbone: Backbone) -> tuple[WeightsState, str]:
    """Compare a network's file with its published SHA-256: the state, and a sentence that says what to do."""
    file = own_file(backbone)
    bundled = backbone.weights.provider == "bundled"
    again = "install hires-nst again" if bundled else f"run `hires-nst models fetch {backbone.name}`"
    if not file.is_file():
        return "missing", f"{backbone.name} has no weights at {file}; {again}"
    digest = _digest(file)
    if not _matches(backbone, digest):
        return "damaged", (
            f"{file} is damaged (its SHA-256 begins with {digest[:8]}, not {backbone.weights.sha256[:8]}); {again}"
        )
    return "ok", f"{backbone.name} is as published: {file}"


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


def _read(file: Path) -> dict[str, Any]:
    """What a weight file holds, by key; nothing in it is executed."""
    if not file.is_file():
        raise WeightsError(f"there is no weight file {file}; check the name and the folder")
    try:
        if file.suffix.lower() == ".safetensors":
            return dict(load_file(file))
        # Files from before PyTorch 1.6, such as torchvision's VGGs, are no archives and cannot be mapped.
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{file} is damaged, or holds more than weights, and was not loaded; give a .safetensors file or a PyTorch "
            "file of a plain state dictionary"
        ) from None
    except _READ_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{file} cannot be read as a weight file ({reason}); get it again") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{file} holds a {type(content).__name__} instead of a state dictionary of weights")
    return {str(key): value for key, value in content.items()}


def _checked(backbone: Backbone, content: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    """The weights of `backbone` from what a file holds, renamed, as float32."""
    renamed = torchvision_names(backbone)
    tensors = {renamed.get(key, key): value for key, value in content.items() if not key.startswith("classifier.")}
    weights: dict[str, Tensor] = {}
    for conv in backbone.convolutions:
        shapes = {"weight": (conv.out_channels, conv.in_channels, 3, 3), "bias": (conv.out_channels,)}
        for part, shape in shapes.items():
            key = f"{conv.name}.{part}"
            tensor = tensors.pop(key, None)
            if not isinstance(tensor, Tensor):
                raise WeightsError(f"{file} is not a file of {backbone.name}: it lacks {key}")
            if tuple(tensor.shape) != shape or not tensor.is_floating_point():
                kind = f"{tensor.dtype} of shape {tuple(tensor.shape)}".removeprefix("torch.")
                raise WeightsError(
                    f"{file} is not a file of {backbone.name}: its {key} is {kind} instead of numbers of shape {shape}"
                )
            weights[key] = tensor.detach().to(torch.float32)
            if not bool(weights[key].isfinite().all()):
                raise WeightsError(f"{file} is damaged: its {key} has values that are not finite; get it again")
    if tensors:
        raise WeightsError(f"{file} is not a file of {backbone.name}, which has no {next(iter(tensors))}")
    return weights


def _matches(backbone: Backbone, digest: str) -> bool:
    """Whether a digest begins as the published one, which may be shortened."""
    return digest.startswith(backbone.weights.sha256.lower())


def _digest(file: Path) -> str:
    """A file's SHA-256."""
    try:
        return sha256_of(file)
    except OSError as error:
        raise WeightsError(f"cannot read the weight file {file}: {error.strerror}") from None


def _into_cache(backbone: Backbone, write: Callable[[BinaryIO], None]) -> Path:
    """Make the cache's file with what `write` puts into the binary file it is given."""
    target = cache_file(backbone)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(target, write, overwrite=True)
    except (OSError, OutputError) as error:
        raise WeightsError(
            f"cannot write {target} ({getattr(error, 'strerror', None) or error}); set TORCH_HOME to a folder that may "
            "be written to"
        ) from None
    return target


def _download(backbone: Backbone, target: BinaryIO, on_event: OnEvent) -> str:
    """Write what the network's address sends to `target`; its SHA-256."""
    file, url = backbone.weights.file, backbone.weights.url
    result = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            total, done = int(response.headers.get("Content-Length") or 0), 0
            on_event(DownloadProgress(file, done, total))
            while chunk := response.read(CHUNK):
                target.write(chunk)
                result.update(chunk)
                done += len(chunk)
                on_event(DownloadProgress(file, done, total))
    except _DOWNLOAD_ERRORS as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()
        raise _not_downloaded(backbone, str(getattr(error, "reason", None) or error)) from None
    if done < total:
        raise _not_downloaded(backbone, f"the connection broke off after {done} of {total} bytes")
    return result.hexdigest()


def _not_downloaded(backbone: Backbone, reason: str) -> WeightsError:
    return WeightsError(
        f"the weights of {backbone.name} could not be downloaded from {backbone.weights.url} ({reason}); use the "
        "bundled network (--model vgg19-slim), or get the file elsewhere and run `hires-nst models import FILE`, or "
        f"set TORCH_HOME to a folder that has hub/checkpoints/{backbone.weights.file}"
    )
