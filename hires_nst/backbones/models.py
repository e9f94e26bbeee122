"""The networks and their weights, by name: what `hires-nst models` does, as functions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hires_nst.backbones import weights
from hires_nst.backbones.description import Backbone, Provider
from hires_nst.backbones.registry import BACKBONES, find_backbone
from hires_nst.backbones.weights import WeightsCheck
from hires_nst.errors import InputError
from hires_nst.events import OnEvent, ignore
from hires_nst.files import check_exists


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """A network.

    Attributes:
        parameters: weights and biases of its convolutions.
        multiply_adds: per pixel of a full forward pass.
        bundled: whether its weights come with the program; others are downloaded once.
        provider: of its weights, see `description.Weights`.
        looked_at: whether pictures that it made have been looked at; others are tested with random weights only.
        file: where its weights are, if they are `present`; of a registered module they are with it.
    """

    name: str
    description: str
    licence: str
    source: str
    parameters: int
    multiply_adds: float
    bundled: bool
    provider: Provider
    looked_at: bool
    file: Path
    present: bool


def list() -> tuple[ModelInfo, ...]:
    """The networks that the program supports."""
    return tuple(_info(backbone) for backbone in BACKBONES.values())


def fetch(name: str, *, on_event: OnEvent = ignore) -> ModelInfo:
    """Download a network's weights into torch's cache and check them, unless they are there.

    Args:
        on_event: receives the progress of the download.

    Raises:
        ConfigError: there is no such network. WeightsError: there is no internet connection, or the file is not the
            published one. ResourceError: the disk is full.
    """
    backbone = find_backbone(name)
    if weights.verify(backbone).state != "ok":
        weights.fetch(backbone, on_event=on_event)
    return _info(backbone)


def import_file(file: Path | str, *, name: str | None = None) -> ModelInfo:
    """Copy a weight file that was downloaded in another way into torch's cache, after checking it.

    Args:
        name: the network; recognised from the file when not given.

    Raises:
        ConfigError: there is no such network. InputError: there is no such file. WeightsError: it is not the published
            one. ResourceError: the disk is full.
    """
    file = Path(file)
    check_exists(file)
    try:
        file.open("rb").close()
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); give a weight file that you may read") from None
    if name is not None:
        backbone, digest = find_backbone(name), None
    else:
        digest = weights.digest_of(file)
        backbone = weights.identify(file, digest=digest)
    weights.import_file(backbone, file, digest=digest)
    return _info(backbone)


def verify(name: str | None = None) -> tuple[WeightsCheck, ...]:
    """Compare weight files with their published SHA-256.

    Args:
        name: a network; all of them when not given.

    Raises:
        ConfigError: there is no such network. WeightsError: a file cannot be read.
    """
    backbones = BACKBONES.values() if name is None else [find_backbone(name)]
    return tuple(weights.verify(backbone) for backbone in backbones)


def _info(backbone: Backbone) -> ModelInfo:
    file = weights.own_file(backbone)
    return ModelInfo(
        name=backbone.name, description=backbone.description, licence=backbone.licence, source=backbone.source,
        parameters=backbone.parameters, multiply_adds=backbone.multiply_adds(), bundled=backbone.is_bundled,
        provider=backbone.weights.provider, looked_at=backbone.looked_at, file=file,
        present=file.is_file() or backbone.weights.provider == "python",
    )  # fmt: skip
