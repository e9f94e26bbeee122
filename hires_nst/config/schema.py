"""The whole configuration, what follows from it, and which files it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, Field, model_validator
from pydantic.fields import FieldInfo

from hires_nst.backbones.description import Backbone
from hires_nst.backbones.registry import BACKBONES, find_backbone
from hires_nst.config.recipes import layers_of, refusal, with_layers
from hires_nst.config.running import Batch, BatchJob, Checkpoint, Images, Runtime
from hires_nst.config.section import Section, section_in
from hires_nst.config.sections import (
    LAYERS,
    Colors,
    Init,
    Levels,
    Loss,
    Model,
    Optimizer,
    Output,
    Tiles,
    default_layers,
)
from hires_nst.config.settings import FileRole, NamedFile, picture_settings
from hires_nst.config.style_sections import Painting, Regions, StyleImage
from hires_nst.errors import ConfigError, nearest

SectionType = TypeVar("SectionType", bound=Section)


class Config(Section):
    """The whole configuration of a run; see `hires-nst config init` for a commented file."""

    version: Literal[1] = 1
    styles: tuple[StyleImage, ...] = ()
    regions: Regions = Regions()
    gallery: Path | tuple[Path, ...] = Field(
        (), description="Folders with paintings of your own, to be found by name like those of the program."
    )
    output: Output = Output()
    model: Model = Model()
    loss: Loss = Loss()
    init: Init = Init()
    colors: Colors = Colors()
    levels: Levels = Levels()
    tiles: Tiles = Tiles()
    optimizer: Optimizer = Optimizer()
    runtime: Runtime = Runtime()
    checkpoint: Checkpoint = Checkpoint()
    images: Images = Images()
    batch: Batch = Batch()
    jobs: tuple[BatchJob, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _set_layers(cls, data: Any) -> Any:
        """Set the layers of recipes, which may depend on the network."""
        return with_layers(data, known_layers(data)) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _layers_of_the_network(self) -> Config:
        """Where no layers are given, those that the network has for that; they do not count as given."""
        given = self.loss.model_fields_set
        own = {section: found for section, found in default_layers(self.model.name).items() if section not in given}
        if any(getattr(self.loss, section) != found for section, found in own.items()):
            loss = self.loss.model_copy(update=own)
            loss.model_fields_set.difference_update(own)
            object.__setattr__(self, "loss", loss)
        return self

    @model_validator(mode="after")
    def _network_can_do_it(self) -> Config:
        backbone, pooling = self.backbone, self.model.pooling
        if pooling not in ("auto", *backbone.poolings):
            raise ValueError(f"model.pooling: {backbone.name} keeps the pooling that it has; leave pooling out")
        if self.model.weights is not None and backbone.weights.provider == "python":
            raise ValueError(f"model.weights: {backbone.name} has the weights of its module; leave weights out")
        return self

    @model_validator(mode="after")
    def _layers_exist(self) -> Config:
        backbone = self.backbone
        for place, loss in self.losses.items():
            for section in LAYERS:
                missing = [layer for layer in getattr(loss, section) if layer not in backbone.layer_names]
                if missing and loss.layers is not None and set(missing) <= set(_of_recipe(loss.layers, section)):
                    others = [one.name for one in BACKBONES.values() if set(missing) <= set(one.layer_names)]
                    names = backbone.layer_names
                    text = refusal(loss.layers, missing, network=backbone.name, known=names, others=others)
                    raise ValueError(f"{place}.layers: {text}")
                if missing:
                    hint = nearest(missing[0], backbone.layer_names)
                    if backbone.style_layers:
                        hint += f"; without {section}, it takes its own"
                    raise ValueError(f"{place}.{section}: {backbone.name} has no layer {missing[0]!r}{hint}")
            if loss.normalization != "relative" and loss.style != "gram":
                raise ValueError(
                    f"{place}: normalization {loss.normalization} is for style: gram, not for style: {loss.style}; "
                    "give style: gram, or normalization: relative"
                )
            if not (loss.active_style_layers or loss.active_content_layers or loss.tv_weight or loss.colour_tv_weight):
                raise ValueError(f"{place}: every weight is 0, so there is nothing to optimise")
        return self

    @property
    def backbone(self) -> Backbone:
        """The network's description; ConfigError if it was registered, but not in this process."""
        return find_backbone(self.model.name)

    @property
    def losses(self) -> dict[str, Loss]:
        """The losses of the levels by their place in the configuration: `loss`, and those of `levels.overrides`."""
        found = {"loss": self.loss}
        for number, override in enumerate(self.levels.overrides):
            if override.loss is not None:
                found[f"levels.overrides.{number}.loss"] = self.loss_at(override.level)
        return found

    def loss_at(self, level: int) -> Loss:
        """The losses of a level."""
        override = next((o.loss for o in self.levels.overrides if o.level == level), None)
        return self.loss if override is None else override.applied_to(self.loss)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that the losses of any level need, shallow to deep."""
        used = {
            layer for loss in self.losses.values() for layer in (*loss.active_style_layers, *loss.active_content_layers)
        }
        return tuple(name for name in self.backbone.layer_names if name in used)

    @property
    def stride(self) -> int:
        """Pixels between neighbouring positions of the deepest layer in use; an image needs as many on each side."""
        return self.backbone.stride_of(self.layers)

    @property
    def gallery_folders(self) -> tuple[Path, ...]:
        """The folders of the user's own paintings."""
        return (self.gallery,) if isinstance(self.gallery, Path) else self.gallery

    @property
    def paintings(self) -> tuple[Painting, ...]:
        """The pictures of all styles; those of a folder only once they are known, see `gallery.resolved`."""
        return tuple(painting for style in self.styles for painting in style.paintings)

    @property
    def needs_style(self) -> bool:
        """Whether a painting is needed: a style layer counts, the start is the painting, or its colours are taken."""
        takes_part = self.init.kind in ("style", "style-noise") or self.colors.effective == "pre-match"
        return takes_part or any(loss.active_style_layers for loss in self.losses.values())

    def check_styles(self) -> None:
        """Raise ConfigError where a painting is needed and there is none."""
        if self.needs_style and not self.styles:
            raise ConfigError(
                "no painting given: name one after the photograph, or under `styles:` in the configuration"
            )

    def with_styles(self, paths: Sequence[Path | str]) -> Config:
        """The configuration with these paintings in place of its own; without any, the configuration itself."""
        styles = tuple(StyleImage(image=Path(path)) for path in paths)
        return self.model_copy(update={"styles": styles}) if styles else self

    def files(self) -> tuple[NamedFile, ...]:
        """The paintings in their order, masks, initial image and weights; the files of `jobs` are not among them."""
        named: list[tuple[FileRole, Path | None]] = [("painting", one.image) for one in self.paintings]
        named += [("mask of the painting", style.own_mask) for style in self.styles]
        named += [("mask", path) for path in self.masks]
        named += [("initial image", self.init.file), ("weights", self.model.weights)]
        return tuple(NamedFile(role, path) for role, path in named if path is not None)

    @property
    def masks(self) -> tuple[Path, ...]:
        """The masks of the photograph."""
        regions = [path for path in (self.regions.protect, self.regions.content) if isinstance(path, Path)]
        return (*(style.mask for style in self.styles if style.mask is not None), *regions)

    def with_files(self, places: Mapping[Path, Path]) -> Config:
        """The configuration with other paths for its files and folders of paintings; a path not in `places` stays."""

        def moved(section: SectionType, *fields: str) -> SectionType:
            paths = {field: getattr(section, field) for field in fields}
            return section.model_copy(
                update={field: places.get(path, path) for field, path in paths.items() if isinstance(path, Path)}
            )

        return self.model_copy(
            update={
                "styles": tuple(
                    moved(style, "image", "folder", "mask", "own_mask").model_copy(
                        update={"images": tuple(places.get(image, image) for image in style.images)}
                    )
                    for style in self.styles
                ),
                "regions": moved(self.regions, "protect", "content"),
                "init": moved(self.init, "file"),
                "model": moved(self.model, "weights"),
            }
        )

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The paintings, the masks and the initial image."""
        return tuple(file.path for file in self.files() if file.role != "weights")

    def picture_fingerprint(self) -> str:
        """A digest that changes when a setting changes that the picture depends on; see `picture_settings`."""
        return _digest(picture_settings(self.model_dump(mode="json")))

    def fingerprint(self) -> str:
        """A digest that changes when any setting changes."""
        return _digest(self.model_dump(mode="json"))


def known_layers(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers of the network in settings that are not checked yet, shallow to deep; none where there is no such."""
    model = data.get("model")
    name = model.get("name") if isinstance(model, Mapping) else getattr(model, "name", None)
    backbone = BACKBONES.get(name if isinstance(name, str) else Model.model_fields["name"].default)
    return () if backbone is None else backbone.layer_names


def _of_recipe(name: str, section: str) -> Mapping[str, float]:
    return layers_of(name, ()).get(section, {})


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def is_setting(key: str) -> bool:
    """Whether there is a key of that dotted name."""
    try:
        field_at(key)
    except KeyError:
        return False
    return "." in key


def field_at(key: str) -> FieldInfo:
    """The field of a dotted key such as `output.print.paper` or `styles.scale`.

    Raises:
        KeyError: there is no such key.
    """
    section: type[BaseModel] = Config
    *parents, name = key.split(".")
    for parent in parents:
        section = section_in(section.model_fields[parent].annotation) or Section
    return section.model_fields[name]
