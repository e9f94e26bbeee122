"""The schema of the configuration. Every default of the program stands here and nowhere else."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, Strict, field_validator, model_validator

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config.settings import FileRole, NamedFile, picture_settings
from hires_nst.errors import ConfigError, nearest
from hires_nst.imageio.paper import parse_paper

StyleLossName = Literal["mean-covariance", "gram"]
Coupling = Literal["balanced", "independent", "exact"]
OptimizerName = Literal["lbfgs", "adam"]
PixelVariables = Literal["plain", "laplacian"]
InitKind = Literal["content", "style", "noise", "uniform", "file"]
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Weight = Annotated[Number, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]

SIZES = ("long_edge", "megapixels", "scale", "print")
LAYERS = ("style_layers", "content_layers")


class Section(BaseModel):
    """A part of the configuration: frozen, typed, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def section_in(annotation: Any) -> type[BaseModel] | None:
    """The section in a field's type, such as `Print` in `Print | None`, if there is one."""
    for candidate in (annotation, *get_args(annotation)):
        # On Python 3.10, `tuple[X, ...]` passes for a class.
        if get_origin(candidate) is None and isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


class StyleImage(Section):
    """A painting."""

    image: Path = Field(description="the painting's file")
    weight: Positive = Field(1.0, description="its share, when there are several")
    scale: Positive = Field(
        1.0, description="its long edge relative to the output's; smaller means finer strokes (never enlarged)"
    )


class Print(Section):
    """A physical size."""

    paper: str = Field("A3", description="A0 to A6, letter, legal, tabloid, or a size such as 60x40cm or 24x36in")
    dpi: Annotated[Number, Field(ge=10, le=4800)] = Field(300, description="pixels per inch")
    fit: Literal["cover", "contain"] = Field(
        "cover", description="cover crops the photograph to the paper, contain does not"
    )
    bleed_mm: Annotated[Number, Field(ge=0, le=100)] = Field(0.0, description="added on each side, to be cut off")

    @field_validator("paper")
    @classmethod
    def _known_paper(cls, value: str) -> str:
        try:
            parse_paper(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value


class Output(Section):
    """The result's size and file. At most one of the sizes; without any, the photograph's own."""

    long_edge: Annotated[Whole, Field(ge=1, le=500_000)] | None = Field(None, description="pixels of the longer side")
    megapixels: Annotated[Number, Field(gt=0, le=250_000)] | None = Field(None, description="millions of pixels")
    scale: Annotated[Number, Field(gt=0, le=1000)] | None = Field(None, description="relative to the photograph")
    print: Print | None = Field(None, description="a physical size")
    bit_depth: Literal[8, 16] = Field(8, description="bits per channel; 16 for PNG and TIFF")
    quality: Annotated[Whole, Field(ge=1, le=100)] = Field(95, description="of a JPEG")
    compression: Literal["deflate", "lzw", "none"] = Field("deflate", description="deflate, lzw or none, of a TIFF")
    dpi: Annotated[Number, Field(ge=1, le=100_000)] | None = Field(
        None, description="written into the file; a print's own dpi when not given"
    )

    @model_validator(mode="after")
    def _one_size(self) -> Output:
        given = [key for key in SIZES if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each set the size: give one of them")
        return self


class Model(Section):
    """The network."""

    name: str = Field("vgg19-slim", description="one of `hires-nst models list`")
    pooling: Literal["auto", "max", "average", "l2"] = Field(
        "auto", description="auto (what it was trained with), max, average or l2, rescaled by 1, 2.0 and 0.78"
    )
    padding: Literal["replicate", "zeros", "reflect"] = Field(
        "replicate", description="replicate, zeros or reflect, at the image's edge"
    )
    weights: Path | None = Field(None, description="a weight file instead of the network's own")

    @field_validator("name")
    @classmethod
    def _known_name(cls, value: str) -> str:
        if value not in BACKBONES:
            raise ValueError(f"there is no network {value!r}{nearest(value, BACKBONES)}")
        return value


class Loss(Section):
    """What is minimised: style_weight * sum of style losses + content_weight * sum of content losses + tv_weight * TV.

    Every layer's loss is divided by its target's own squared norm, so that one set of weights serves every network.
    """

    style: StyleLossName = Field("mean-covariance", description="mean-covariance, or the papers' gram")
    style_layers: dict[str, Weight] = Field(
        default={"conv1_1": 1.0, "conv2_1": 1.0, "conv3_1": 1.0, "conv4_1": 1.0, "conv5_1": 1.0},
        description="layer: weight",
    )
    content_layers: dict[str, Weight] = Field(default={"conv4_2": 1.0}, description="layer: weight")
    style_weight: Weight = Field(1.0, description="of the painting")
    content_weight: Weight = Field(0.2, description="of the photograph; 0.1 to 0.3 keeps the buildings")
    tv_weight: Weight = Field(0.0, description="of the total variation: smooths")

    @property
    def active_style_layers(self) -> dict[str, float]:
        """The style layers that count."""
        return {name: weight for name, weight in self.style_layers.items() if weight * self.style_weight > 0}

    @property
    def active_content_layers(self) -> dict[str, float]:
        """The content layers that count."""
        return {name: weight for name, weight in self.content_layers.items() if weight * self.content_weight > 0}


class Init(Section):
    """The image that the coarsest level starts from."""

    kind: InitKind = Field("content", description="content, style, noise (Gaussian), uniform (noise), or file")
    noise: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0, description="share of Gaussian noise mixed into a start from content, style or file"
    )
    file: Path | None = Field(None, description="the image of kind: file")

    @model_validator(mode="after")
    def _file_given(self) -> Init:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("kind: file and file: PATH belong together")
        return self


class LevelOverride(Section):
    """Another number of rounds or steps for one level."""

    level: Annotated[Whole, Field(ge=0)] = Field(description="0 is the coarsest")
    rounds: Annotated[Whole, Field(ge=0, le=1000)] | None = Field(None, description="the level's own when not given")
    steps: Annotated[Whole, Field(ge=1, le=100_000)] | None = Field(None, description="the level's own when not given")


class Levels(Section):
    """Coarse to fine."""

    min_size: Annotated[Whole, Field(ge=16, le=100_000)] = Field(
        256, description="pixels of the coarsest level's short side (at least; below twice this)"
    )
    factor: Annotated[Number, Field(gt=1, le=8)] = Field(2.0, description="from one level to the next")
    coarse_steps: Annotated[Whole, Field(ge=1, le=100_000)] = Field(
        200, description="evaluations of the coarsest level"
    )
    rounds: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        16, description="of the second level; many short rounds couple the tiles best"
    )
    steps: Annotated[Whole, Field(ge=1, le=10_000)] = Field(2, description="evaluations a round")
    decay: Annotated[Number, Field(gt=0, le=1)] = Field(
        0.75, description="factor on the rounds from one level to the next"
    )
    detail: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0, description="share of the photograph's own fine detail that is added when a level is enlarged"
    )
    overrides: tuple[LevelOverride, ...] = Field((), description="other rounds or steps for single levels")


class Tiles(Section):
    """How a level is cut."""

    size: Literal["auto"] | Annotated[Whole, Field(ge=16, le=100_000)] = Field(
        "auto", description="pixels of a tile's side without overlap; auto from the free memory"
    )
    overlap: Literal["auto"] | Annotated[Whole, Field(ge=0, le=4096)] = Field(
        "auto", description="pixels that a tile's window reaches beyond it on each side"
    )
    coupling: Coupling = Field("balanced", description="balanced, independent (for comparison) or exact (reference)")
    shift: bool = Field(True, description="move the grid by half a tile on every other round")


class Optimizer(Section):
    """How a tile is optimised."""

    name: OptimizerName = Field("lbfgs", description="lbfgs or adam")
    history: Annotated[Whole, Field(ge=1, le=200)] = Field(20, description="pairs that L-BFGS keeps")
    learning_rate: Positive | None = Field(None, description="1.0 for lbfgs and 0.02 for adam when not given")
    pixels: PixelVariables = Field(
        "plain", description="plain, or laplacian: lbfgs on a pyramid, for less noise in small pictures"
    )

    @property
    def rate(self) -> float:
        """The learning rate in force."""
        return self.learning_rate or {"lbfgs": 1.0, "adam": 0.02}[self.name]


class Runtime(Section):
    """Where and how it runs."""

    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="float32 or bfloat16; auto is float32 on the CPU and bfloat16 on CUDA"
    )
    memory_fraction: Annotated[Number, Field(gt=0, le=1)] = Field(0.8, description="share of the free memory to use")
    canvas: Literal["auto", "memory", "disk"] = Field(
        "auto", description="memory or disk: where the image being painted is kept"
    )
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = Field(0, description="of the noise")

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not re.fullmatch("auto|cpu|cuda(:[0-9]{1,3})?", value):
            raise ValueError(f"there is no device {value!r}; write auto, cpu, cuda or cuda:N")
        return value


class Checkpoint(Section):
    """What is kept on the disk during a run, so that it can go on after an interruption."""

    every: Literal["tile", "round", "level"] = Field(
        "tile", description="tile, round or level: what is kept when it is finished"
    )
    every_seconds: Positive = Field(
        60.0, description="with every: tile, the most that is lost inside a tile of many steps"
    )
    keep: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        1, description="finished rounds that stay; more of them are more to fall back on if a file is damaged"
    )
    directory: Path | None = Field(None, description="the run directory; beside the result when not given")
    keep_run: bool = Field(False, description="leave the run directory when the result is written")


class Images(Section):
    """Limits on input images."""

    max_megapixels: Positive = Field(500.0, description="an input larger than this is taken for a mistake")


class BatchJob(Section):
    """A job of a batch, with settings of its own."""

    content: Path = Field(description="the photograph's file")
    style: Path | None = Field(None, description="the painting's file; those of the configuration when not given")
    output: str | None = Field(None, description="a template of its own for the picture's name")
    set: dict[str, Any] = Field(default={}, description="settings of its own, such as {output: {long_edge: 3000}}")

    @model_validator(mode="after")
    def _one_style(self) -> BatchJob:
        if self.style is not None and "styles" in self.set:
            raise ValueError("style and set.styles both name the painting: give one of them")
        if inside := self.set.keys() & {"batch", "jobs"}:
            raise ValueError(f"set cannot have {', '.join(sorted(inside))}, which are of the whole batch")
        return self


class Batch(Section):
    """Many pictures at once, with `hires-nst batch`."""

    recursive: bool = Field(False, description="the folders inside the folder, too")
    include: tuple[str, ...] = Field((), description="only names such as IMG_*.jpg")
    exclude: tuple[str, ...] = Field((), description="no names such as *_small.jpg")
    match: Literal["product", "zip", "stem"] = Field(
        "product", description="product (each photograph with each painting), zip (in order) or stem (by name)"
    )
    order: Literal["name", "size", "shuffle", "shortest"] = Field(
        "name", description="name, size (the most pixels first), shuffle, or shortest (the least work first)"
    )
    template: str = Field(
        "{content}-{style}.png",
        description="names of the pictures, from content, style, index, parent, width, height and preset",
    )
    retries: Annotated[Whole, Field(ge=0, le=1000)] = Field(1, description="how often a failed job is tried again")
    retry_wait: Annotated[Number, Field(ge=0, le=86_400)] = Field(10.0, description="seconds before it is")
    changed: Literal["redo", "skip", "fail"] = Field(
        "skip", description="redo, skip or fail: what becomes of a picture whose settings, input or file changed"
    )
    workers: Literal["auto"] | Annotated[Whole, Field(ge=1, le=256)] = Field(
        "auto", description="processes that paint; auto is one for each CUDA device, or one"
    )
    lease_seconds: Annotated[Number, Field(ge=0.1, le=3600)] = Field(
        60.0, description="after this long without a sign of life, another process may take a job over"
    )
    cluster_cpus: Annotated[Number, Field(gt=0, le=1024)] = Field(
        1.0, description="processor cores that a job takes in a Ray cluster"
    )
    cluster_gpus: Annotated[Number, Field(ge=0, le=64)] | None = Field(
        None, description="GPUs that it takes; 1 where the cluster has any when not given"
    )


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

    @model_validator(mode="after")
    def _layers_exist(self) -> Config:
        backbone = BACKBONES[self.model.name]
        for section in ("style_layers", "content_layers"):
            for layer in getattr(self.loss, section):
                if layer not in backbone.layer_names:
                    hint = nearest(layer, backbone.layer_names)
                    raise ValueError(f"loss.{section}: {backbone.name} has no layer {layer!r}{hint}")
        if not (self.loss.active_style_layers or self.loss.active_content_layers or self.loss.tv_weight):
            raise ValueError("loss: every weight is 0, so there is nothing to optimise")
        return self

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that the loss needs, shallow to deep."""
        used = self.loss.active_style_layers.keys() | self.loss.active_content_layers.keys()
        return tuple(name for name in BACKBONES[self.model.name].layer_names if name in used)

    @property
    def stride(self) -> int:
        """Pixels between neighbouring positions of the deepest layer in use."""
        return BACKBONES[self.model.name].stride_of(self.layers)

    @property
    def minimum_side(self) -> int:
        """Pixels that an image must have on each side for the layers in use: one position of the deepest."""
        return self.stride

    @property
    def needs_style(self) -> bool:
        """Whether a painting is needed: a style layer counts, or the start is the painting."""
        return bool(self.loss.active_style_layers) or self.init.kind == "style"

    def check_styles(self) -> None:
        """Refuse a configuration that needs a painting and has none.

        Raises:
            ConfigError: it says where to name one.
        """
        if self.needs_style and not self.styles:
            raise ConfigError(
                "there is no painting: name one after the photograph, or as style: or styles: in the configuration"
            )

    def with_styles(self, paths: Sequence[Path | str]) -> Config:
        """The configuration with these paintings in place of its own; without any, the configuration itself."""
        styles = tuple(StyleImage(image=Path(path)) for path in paths)
        return self.model_copy(update={"styles": styles}) if styles else self

    def files(self) -> tuple[NamedFile, ...]:
        """Every file that is named here: the paintings in their order, the start image, the weights."""
        named: list[tuple[FileRole, Path | None]] = [("painting", style.image) for style in self.styles]
        named += [("start image", self.init.file), ("weights", self.model.weights)]
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
        """The pictures that are named here: the paintings, and the start image."""
        return tuple(file.path for file in self.files() if file.role != "weights")

    def picture_fingerprint(self) -> str:
        """A digest that changes when a setting changes that the picture depends on; see `picture_settings`."""
        return _digest(picture_settings(self.model_dump(mode="json")))

    def fingerprint(self) -> str:
        """A digest that changes when any setting changes."""
        return _digest(self.model_dump(mode="json"))


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
