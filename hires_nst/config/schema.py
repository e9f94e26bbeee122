"""The whole configuration, what follows from it, and which files it names."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, model_validator
from pydantic.fields import FieldInfo

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config.recipes import layers_of, refusal, with_layers
from hires_nst.config.running import Batch, BatchJob, Checkpoint, Images, Runtime
from hires_nst.config.section import Section, section_in
from hires_nst.config.sections import (
    LAYERS,
    Init,
    Levels,
    Loss,
    Model,
    Optimizer,
    Output,
    StyleImage,
    Tiles,
)
from hires_nst.config.settings import FileRole, NamedFile, picture_settings
from hires_nst.errors import ConfigError, nearest


class Config(Section):
    """The whole configuration of a run; see `hires-nst config init` for a commented file."""

    version: Literal[1] = 1
    styles: tuple[StyleImage, ...] = ()
    output: Output = Output()
    model: Model = Model()
    loss: Loss = Loss()
    init: Init = Init()
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
    def _layers_exist(self) -> Config:
        backbone = BACKBONES[self.model.name]
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
        return tuple(name for name in BACKBONES[self.model.name].layer_names if name in used)

    @property
    def stride(self) -> int:
        """Pixels between neighbouring positions of the deepest layer in use; an image needs as many on each side."""
        return BACKBONES[self.model.name].stride_of(self.layers)

    @property
    def needs_style(self) -> bool:
        """Whether a painting is needed: a style layer counts, or the start is the painting."""
        counts = any(loss.active_style_layers for loss in self.losses.values())
        return counts or self.init.kind in ("style", "style-noise")

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
        """The paintings in their order, the initial image and the weights; the files of `jobs` are not among them."""
        named: list[tuple[FileRole, Path | None]] = [("painting", style.image) for style in self.styles]
        named += [("initial image", self.init.file), ("weights", self.model.weights)]
        return tuple(NamedFile(role, path) for role, path in named if path is not None)

    def with_files(self, places: Mapping[Path, Path]) -> Config:
        """The configuration with other paths for its files; a path that is not in `places` stays."""
        init, model = self.init, self.model
        if init.file is not None:
            init = init.model_copy(update={"file": places.get(init.file, init.file)})
        if model.weights is not None:
            model = model.model_copy(update={"weights": places.get(model.weights, model.weights)})
        styles = [style.model_copy(update={"image": places.get(style.image, style.image)}) for style in self.styles]
        return self.model_copy(update={"styles": tuple(styles), "init": init, "model": model})

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The paintings and the initial image."""
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
