"""The networks' weights: bundled, downloaded or imported; checked by SHA-256; never unpickled."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import torch
from torch import Tensor

from hires_nst.backbones.description import Backbone, Pooling
from hires_nst.backbones.download import download
from hires_nst.backbones.network import Network, Padding
from hires_nst.backbones.registry import BACKBONES
from hires_nst.backbones.traced import TracedNetwork
from hires_nst.backbones.traced_layers import OwnBackbone, TorchvisionBackbone
from hires_nst.backbones.vgg import VGG
from hires_nst.backbones.vgg_layers import VGGBackbone
from hires_nst.backbones.weight_files import checked_weights, read_file, tells_order
from hires_nst.errors import OutputError, WeightsError
from hires_nst.events import Notice, OnEvent, ignore
from hires_nst.files import atomic_write, make_folder, sha256_of


@dataclass(frozen=True)
class WeightsCheck:
    """Whether a network's weights are as published; the message says what to do if not."""

    name: str
    state: Literal["ok", "missing", "damaged"]
    message: str


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
) -> Network:
    """The network with its weights, on the CPU.

    Args:
        pooling: one of the backbone's own, see `Backbone.poolings`.
        padding: see `Network`.
        file, on_event: see `load_weights`; a network that was registered has its weights.

    Raises:
        WeightsError: see `load_weights`.
    """
    if isinstance(backbone, OwnBackbone):
        return TracedNetwork(backbone, deepcopy(backbone.modules), padding=padding)
    weights = load_weights(backbone, file=file, on_event=on_event)
    if isinstance(backbone, TorchvisionBackbone):
        from hires_nst.backbones.tracing import torchvision_operations  # torchvision is not needed otherwise

        operations = torchvision_operations(backbone.model, backbone.names, weights=weights)
        return TracedNetwork(backbone, operations, padding=padding)
    assert isinstance(backbone, VGGBackbone)
    return VGG(backbone, weights, pooling=pooling, padding=padding)


def load_weights(backbone: Backbone, *, file: Path | None = None, on_event: OnEvent = ignore) -> dict[str, Tensor]:
    """A network's weights.

    Args:
        file: a .safetensors or .pth file in place of the network's own, with torchvision's names or the papers'.
        on_event: receives the progress of a download, when one is needed, and a notice of a file that is not the
            published one.

    Returns:
        As `checked_weights`.

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
    return checked_weights(backbone, read_file(own), file=own)


def fetch(backbone: Backbone, *, on_event: OnEvent = ignore) -> Path:
    """Download a network's file into the cache, where it appears complete and checked or not at all.

    Raises:
        WeightsError: see `download`; the cache cannot be written. ResourceError: the disk is full.
    """
    if backbone.is_bundled:
        raise WeightsError(
            f"{backbone.name} comes with the program, so there is nothing to download; it can be used as it is"
        )
    if backbone.weights.provider == "file":
        raise WeightsError(
            f"the weights of {backbone.name} cannot be downloaded by the program; get one of the files that `hires-nst "
            f"models list` names, and run `hires-nst models import FILE --name {backbone.name}`"
        )
    _check_has_file(backbone)
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
    _check_has_file(backbone)
    digest = digest or digest_of(file)
    if not backbone.weights.matches(digest):
        raise WeightsError(
            f"{file} is not the published file of {backbone.name} (its SHA-256 begins with {digest[:8]}, not "
            f"{backbone.weights.sha256[:8]}); to use it anyway, set model.weights={file} for a run"
        )
    checked_weights(backbone, read_file(file), file=file)

    def copy(target: BinaryIO) -> None:
        with file.open("rb") as source:
            shutil.copyfileobj(source, target)

    return _write_to_cache(backbone, copy)


def _check_has_file(backbone: Backbone) -> None:
    """Raise WeightsError for a network that was registered from Python."""
    if isinstance(backbone, OwnBackbone):
        raise WeightsError(
            f"{backbone.name} has the weights of the module that was registered; it needs no file, and takes none"
        )


def identify(file: Path, *, digest: str | None = None, networks: Mapping[str, Backbone] = BACKBONES) -> Backbone:
    """The network that a file is for: by its digest, which may be known, otherwise by its keys and shapes.

    Raises:
        WeightsError: it is for none of the `networks`, or nothing in it says for which of those that are alike.
    """
    digest = digest or digest_of(file)
    for backbone in networks.values():
        if backbone.weights.sha256 and backbone.weights.matches(digest):
            return backbone
    stored = read_file(file)
    fitting = _networks_of(stored, networks, file=file)
    if not fitting:
        raise WeightsError(
            f"{file} does not contain the weights of a known network ({', '.join(networks)}); check the file"
        )
    # A file that is not the published one of a network is that of another like it, whose files have no checksum.
    likely = [backbone for backbone in fitting if backbone.weights.matches(digest)] or fitting
    if len(fitting) > 1 and not tells_order(stored):
        names = " or ".join(backbone.name for backbone in fitting)
        raise WeightsError(f"{file} may be a file of {names}; say of which with --name")
    return likely[0]


def verify(backbone: Backbone) -> WeightsCheck:
    """Compare a network's file with its published SHA-256, if there is one."""
    if isinstance(backbone, OwnBackbone):
        return WeightsCheck(backbone.name, "ok", f"{backbone.name} has the weights of the module that was registered")
    file, is_imported = own_file(backbone), backbone.weights.provider == "file"
    remedy = "install hires-nst again" if backbone.is_bundled else f"run `hires-nst models fetch {backbone.name}`"
    if is_imported:
        remedy = f"run `hires-nst models import FILE --name {backbone.name}`"
    if not file.is_file():
        return WeightsCheck(backbone.name, "missing", f"{backbone.name} has no weights at {file}; {remedy}")
    digest = digest_of(file)
    if backbone.weights.matches(digest):
        what = "matches the published checksum" if backbone.weights.sha256 else "has no published checksum"
        return WeightsCheck(backbone.name, "ok", f"{backbone.name} {what}: {file}")
    message = f"{file} is damaged (its SHA-256 begins with {digest[:8]}, not {backbone.weights.sha256[:8]}); {remedy}"
    return WeightsCheck(backbone.name, "damaged", message)


def _loaded(backbone: Backbone, file: Path, *, on_event: OnEvent) -> dict[str, Tensor]:
    """The weights in a user's file; raises as `load_weights`."""
    stored = read_file(file)
    try:
        weights = checked_weights(backbone, stored, file=file)
    except WeightsError:
        others = _networks_of(stored, BACKBONES, file=file)
        if not others:
            raise
        other = others[0].name
        raise WeightsError(
            f"{file} holds the weights of {other}, not of {backbone.name}; add --model {other}, or leave "
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


def _networks_of(stored: Mapping[str, Any], networks: Mapping[str, Backbone], *, file: Path) -> list[Backbone]:
    """The networks that what a file holds fits."""
    found = []
    for backbone in networks.values():
        with suppress(WeightsError):
            checked_weights(backbone, stored, file=file)
            found.append(backbone)
    return found


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
