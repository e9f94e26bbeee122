"""The sections of the configuration that make the picture; their defaults stand here and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from hires_nst.backbones.registry import BACKBONES, find_backbone, unknown_network
from hires_nst.config.recipes import EVERY_UP_TO, RECIPES, check_name
from hires_nst.config.section import Number, Positive, Section, Weight, Whole
from hires_nst.config.style_sections import known_colour
from hires_nst.errors import ConfigError
from hires_nst.imageio.paper import PAPERS, parse_paper

StyleLossName = Literal[
    "mean-covariance", "gram", "mean-std", "gram+mean-std", "central-moments", "wasserstein", "sliced", "neighbours"
]
Coupling = Literal["balanced", "independent", "exact"]
OptimizerName = Literal["lbfgs", "adam"]
PixelVariables = Literal["auto", "plain", "laplacian"]
ColorMode = Literal["painting", "match", "luminance", "photo", "pre-match"]
InitKind = Literal["content", "style", "style-noise", "grey", "noise", "uniform", "file"]
Normalization = Literal["relative", "gatys2015", "gatys2016", "johnson2016"]

SIZES = ("long_edge", "megapixels", "scale", "print")
LAYERS = ("style_layers", "content_layers")


def _known_recipe(value: str | None) -> str | None:
    if value is not None:
        check_name(value)
    return value


RecipeName = Annotated[str, AfterValidator(_known_recipe)]


class Print(Section):
    """Size of a print on paper."""

    paper: str = Field("A3", description=f"Paper of the print: {PAPERS}; or a size such as 60x40cm or 24x36in.")
    dpi: Annotated[Number, Field(ge=10, le=4800)] = Field(300, description="Pixels per inch of the print.")
    fit: Literal["cover", "contain"] = Field(
        "cover", description="cover crops the photograph to the paper; contain fits all of it on the paper."
    )
    bleed_mm: Annotated[Number, Field(ge=0, le=100)] = Field(
        0.0, description="Bleed in millimetres, added on each side of the print to be trimmed."
    )

    @field_validator("paper")
    @classmethod
    def _known_paper(cls, value: str) -> str:
        try:
            parse_paper(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value


class Output(Section):
    """Size and file of the result. Give at most one size; without any, the photograph's own size is used."""

    long_edge: Annotated[Whole, Field(ge=1, le=500_000)] | None = Field(
        None, description="Pixels of the result's longer side.", examples=[2048]
    )
    megapixels: Annotated[Number, Field(gt=0, le=250_000)] | None = Field(
        None, description="Size of the result in megapixels.", examples=[12]
    )
    scale: Annotated[Number, Field(gt=0, le=1000)] | None = Field(
        None, description="Size of the result relative to the photograph; 2 doubles both sides.", examples=[2]
    )
    print: Print | None = Field(None, description="Size of the result as a print on paper.")
    bit_depth: Literal[8, 16] = Field(8, description="Bits per channel; 16 for PNG and TIFF only.")
    quality: Annotated[Whole, Field(ge=1, le=100)] = Field(
        95, description="Quality of a JPEG or WebP, 1 to 100; a WebP of 100 is written without loss."
    )
    compression: Literal["deflate", "lzw", "none"] = Field(
        "deflate", description="Compression of a TIFF: deflate, lzw or none."
    )
    dpi: Annotated[Number, Field(ge=1, le=100_000)] | None = Field(
        None, description="Pixels per inch noted in the file; those of the print when not given.", examples=[300]
    )
    metadata: Literal["keep", "strip"] = Field(
        "keep",
        description="Metadata of the result: keep (the photograph's author, date and the like, and how it was painted) "
        "or strip (none).",
    )
    keep_location: bool = Field(
        False, description="Keep the place where the photograph was taken; without effect with metadata: strip."
    )
    background: str | None = Field(
        None,
        description="Colour behind transparent parts of the photograph, such as white or #ff8800; when not given, they "
        "stay transparent, and are white in a JPEG.",
    )

    @field_validator("background")
    @classmethod
    def _known_colour(cls, value: str | None) -> str | None:
        return value if value is None else known_colour(value)

    @model_validator(mode="after")
    def _one_size(self) -> Output:
        given = [key for key in SIZES if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} each set the size: give one of them")
        return self


class Model(Section):
    """The network whose layers compare the pictures."""

    name: str = Field("vgg19-slim", description=f"Network: {', '.join(BACKBONES)}; see `hires-nst models list`.")
    pooling: Literal["auto", "max", "average", "l2"] = Field(
        "auto",
        description="Pooling of a VGG network: max, average or l2; auto is the one it was trained with.",
    )
    padding: Literal["auto", "replicate", "zeros", "reflect"] = Field(
        "auto",
        description="Padding of each layer: zeros, replicate or reflect; auto is zeros where a border allows it.",
    )
    weights: Path | None = Field(
        None, description="File of weights to use instead of the network's own.", examples=["vgg19.safetensors"]
    )

    @field_validator("name")
    @classmethod
    def _known_name(cls, value: str) -> str:
        if value not in BACKBONES:
            raise ValueError(unknown_network(value))
        return value


class Loss(Section):
    """What is minimised: style_weight * (sum of style losses + palette_weight * distance of the colours)
    + content_weight * sum of content losses + tv_weight * TV + colour_tv_weight * TV of the colours.

    Unless `normalization` says otherwise, every layer's loss is divided by its target's own squared norm, so that one
    set of weights serves every network.
    """

    style: StyleLossName = Field(
        "mean-covariance",
        description="Style loss: mean-covariance compares means and covariances; gram the papers' Gram matrices; "
        "mean-std means and standard deviations; gram+mean-std both of these; central-moments five moments of each "
        "channel; wasserstein and sliced measure distances of distributions; neighbours compares each place with the "
        "painting's most similar one.",
    )
    layers: RecipeName | None = Field(
        None,
        description=f"Layers by name: {', '.join(RECIPES)}, or {EVERY_UP_TO}LAYER; those given under style_layers or "
        "content_layers win.",
        examples=["expressionist"],
    )
    style_layers: dict[str, Weight] = Field(
        default={"conv1_1": 1.0, "conv2_1": 1.0, "conv3_1": 1.0, "conv4_1": 1.0, "conv5_1": 1.0},
        description="Layers of the style loss, with their weights.",
    )
    content_layers: dict[str, Weight] = Field(
        default={"conv4_2": 1.0}, description="Layers of the content loss, with their weights."
    )
    normalization: Normalization = Field(
        "relative",
        description="What the losses are divided by: relative (each layer's by its target's own size), or for style: "
        "gram as in the papers: gatys2015, gatys2016 or johnson2016, whose weights are of other sizes.",
    )
    balance: Literal["none", "gradients"] = Field(
        "none",
        description="Balance of content and style: none, or gradients, which scales the content loss at the start of "
        "each level so that their gradients have the ratio of their weights.",
        examples=["gradients"],
    )
    style_weight: Weight = Field(1.0, description="Weight of the style loss.")
    content_weight: Weight = Field(
        0.2, description="Weight of the content loss; 0.1 to 0.3 keeps the photograph recognisable."
    )
    palette_weight: Weight = Field(
        20.0,
        description="Weight of the distance between the colours of the picture and the painting's, wherever they are; "
        "0 with another normalization than relative.",
    )
    tv_weight: Weight = Field(0.0, description="Weight of the total variation; higher values smooth the result.")
    colour_tv_weight: Weight = Field(
        0.0,
        description="Weight of the total variation of the colours, without brightness; 0.2 leaves less coloured noise "
        "in calm parts, and higher values make colours softer.",
    )

    @property
    def active_style_layers(self) -> dict[str, float]:
        """The style layers whose weight is not 0."""
        return {name: weight for name, weight in self.style_layers.items() if weight * self.style_weight > 0}

    @property
    def active_palette_weight(self) -> float:
        """The weight of the palette beside the style layers; 0 without any, and with the papers' normalisations."""
        return self.palette_weight if self.active_style_layers and self.normalization == "relative" else 0.0

    @property
    def active_content_layers(self) -> dict[str, float]:
        """The content layers whose weight is not 0."""
        return {name: weight for name, weight in self.content_layers.items() if weight * self.content_weight > 0}

    def with_content(self, factor: float) -> Loss:
        """The same with the content weight times a factor."""
        return self if factor == 1 else self.model_copy(update={"content_weight": self.content_weight * factor})


def default_layers(network: str) -> dict[str, dict[str, float]]:
    """`style_layers` and `content_layers` where the configuration gives none: the network's own, or those of `Loss`."""
    backbone = find_backbone(network)
    if not backbone.style_layers:
        return {section: dict(getattr(Loss(), section)) for section in LAYERS}
    return {section: dict.fromkeys(getattr(backbone, section), 1.0) for section in LAYERS}


class Init(Section):
    """The image that painting begins with."""

    kind: InitKind = Field(
        "content",
        description="Initial image: content (the photograph), style (the first painting), style-noise (noise in the "
        "paintings' colours), grey, noise (Gaussian), uniform (uniform noise), or file.",
    )
    noise: Annotated[Number, Field(ge=0, le=1)] = Field(
        0.0, description="Share of Gaussian noise, 0 to 1, mixed into an initial image that is not noise itself."
    )
    file: Path | None = Field(None, description="The image file of kind: file.")
    level: Literal["auto", "coarsest"] | Annotated[Whole, Field(ge=0)] = Field(
        "auto",
        description="Level that painting begins at: coarsest, a number (0 is the coarsest), or auto, which takes a "
        "file for a finished picture and begins at the first level larger than it.",
        examples=["coarsest"],
    )

    @model_validator(mode="after")
    def _file_given(self) -> Init:
        if (self.kind == "file") != (self.file is not None):
            raise ValueError("kind: file and file: PATH belong together, as in init: {kind: file, file: start.png}")
        return self


class Colors(Section):
    """Whose colours the result has."""

    mode: ColorMode = Field(
        "painting",
        description="Colours of the result: painting; match (the painting is recoloured to the photograph first); "
        "luminance (only lightness is transferred); photo (as painting, and the photograph's colours are put back at "
        "the end); pre-match (the photograph is recoloured to the painting first).",
        examples=["photo"],
    )
    strength: Annotated[Number, Field(ge=0, le=1)] = Field(
        1.0, description="Strength of colors.mode, 0 to 1; 0 gives the same picture as painting.", examples=[0.5]
    )

    @property
    def effective(self) -> ColorMode:
        """The mode, `painting` where its strength is 0."""
        return self.mode if self.strength > 0 else "painting"

    @property
    def restored(self) -> float:
        """The share of the photograph's colours, 0 to 1, that is put back at the end."""
        return self.strength if self.mode in ("luminance", "photo") else 0.0

    @property
    def desaturation(self) -> float:
        """The share of their colours, 0 to 1, that all images lose before the network sees them."""
        return self.strength if self.mode == "luminance" else 0.0


class LossOverride(Section):
    """Other losses for one level; what is not given is as under `loss`."""

    style: StyleLossName | None = Field(None, description="Style loss of this level.")
    layers: RecipeName | None = Field(None, description="Layers of this level by name.", examples=["expressionist"])
    style_layers: dict[str, Weight] | None = Field(
        None, description="Layers of its style loss, with their weights.", examples=[{"conv3_1": 1.0, "conv4_1": 1.0}]
    )
    content_layers: dict[str, Weight] | None = Field(
        None, description="Layers of its content loss, with their weights.", examples=[{"conv4_2": 1.0}]
    )
    normalization: Normalization | None = Field(None, description="What its losses are divided by.")
    balance: Literal["none", "gradients"] | None = Field(None, description="Balance of its content and style.")
    style_weight: Weight | None = Field(None, description="Weight of its style loss.")
    content_weight: Weight | None = Field(None, description="Weight of its content loss.")
    palette_weight: Weight | None = Field(None, description="Weight of the distance of its colours.")
    tv_weight: Weight | None = Field(None, description="Weight of its total variation.")
    colour_tv_weight: Weight | None = Field(None, description="Weight of the total variation of its colours.")

    def applied_to(self, loss: Loss) -> Loss:
        """The losses of the level, where `loss` are those of the others."""
        given = {key: value for key, value in self if value is not None}
        return loss.model_copy(update=given)


class LevelOverride(Section):
    """Other rounds, steps or losses for one level."""

    level: Annotated[Whole, Field(ge=0)] = Field(description="Number of the level; 0 is the coarsest.", examples=[1])
    rounds: Annotated[Whole, Field(ge=0, le=1000)] | None = Field(
        None, description="Rounds of this level; unchanged when not given."
    )
    steps: Annotated[Whole, Field(ge=1, le=100_000)] | None = Field(
        None, description="Evaluations in each round of this level; unchanged when not given."
    )
    loss: LossOverride | None = Field(
        None, description="Other losses of this level, such as {style: neighbours}; unchanged when not given."
    )


class Levels(Section):
    """The levels of resolution, from coarse to fine."""

    min_size: Annotated[Whole, Field(ge=16, le=100_000)] = Field(
        256,
        description="Minimum short side of the coarsest level in pixels; the actual one is below `factor` times that.",
    )
    factor: Annotated[Number, Field(gt=1, le=8)] = Field(2.0, description="Enlargement from one level to the next.")
    coarse_steps: Annotated[Whole, Field(ge=1, le=100_000)] = Field(
        200, description="Evaluations of the coarsest level."
    )
    rounds: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        16, description="Rounds of the second level; many short rounds couple the tiles best."
    )
    steps: Annotated[Whole, Field(ge=1, le=10_000)] = Field(2, description="Evaluations in each round.")
    decay: Annotated[Number, Field(gt=0, le=1)] = Field(
        0.75, description="Factor by which the number of rounds changes from one level to the next."
    )
    tolerance: Annotated[Number, Field(ge=0, lt=1)] = Field(
        0.0,
        description="Relative gain of the objective in a round, below which a level ends; 0 takes all rounds.",
        examples=[0.01],
    )
    detail: Literal["auto"] | Annotated[Number, Field(ge=0, le=1)] = Field(
        "auto",
        description="Share of the photograph's fine detail, 0 to 1, that a level starts with; auto makes it no "
        "stronger than the painting's.",
        examples=[0.5],
    )
    border: Annotated[Whole, Field(ge=0, le=1024)] = Field(
        32,
        description="Pixels around the picture that are painted with it and cut off at the end, at each level, against "
        "fringes at its edges; at most an eighth of the level's short side.",
    )
    overrides: tuple[LevelOverride, ...] = Field((), description="Other rounds, steps or losses for single levels.")

    @field_validator("overrides")
    @classmethod
    def _one_for_each_level(cls, value: tuple[LevelOverride, ...]) -> tuple[LevelOverride, ...]:
        levels = [override.level for override in value]
        for level in levels:
            if levels.count(level) > 1:
                raise ValueError(f"level {level} has {levels.count(level)} entries: join them into one")
        return value


class Tiles(Section):
    """How a level is cut into tiles."""

    size: Literal["auto"] | Annotated[Whole, Field(ge=16, le=100_000)] = Field(
        "auto",
        description="Side of a tile in pixels, without overlap; auto is what fits into memory.",
        examples=[512],
    )
    overlap: Literal["auto"] | Annotated[Whole, Field(ge=0, le=4096)] = Field(
        "auto", description="Pixels by which a tile extends into its neighbours on each side; auto suits the layers."
    )
    coupling: Coupling = Field(
        "balanced",
        description="Coupling between tiles: balanced; independent (none, for comparison); exact (slow, a reference).",
    )
    shift: bool = Field(True, description="Shift the grid by half a tile in every second round.")


class Optimizer(Section):
    """How the tiles are optimised."""

    name: OptimizerName = Field("lbfgs", description="Optimizer of the tiles: lbfgs or adam.")
    history: Annotated[Whole, Field(ge=1, le=200)] = Field(20, description="Correction pairs that L-BFGS stores.")
    learning_rate: Positive | None = Field(
        None, description="Learning rate; 1.0 for lbfgs and 0.02 for adam when not given.", examples=[0.5]
    )
    pixels: PixelVariables = Field(
        "auto",
        description="Variables to optimise: plain pixels, or a laplacian pyramid (lbfgs only); auto is the pyramid at "
        "the coarsest level, where outlines and large shapes form, and plain pixels at the finer ones.",
    )

    def at_level(self, level: int) -> Optimizer:
        """The optimiser of a level, with its variables in place of `auto`."""
        if self.pixels != "auto":
            return self
        pyramid = level == 0 and self.name == "lbfgs"
        return self.model_copy(update={"pixels": "laplacian" if pyramid else "plain"})

    @property
    def rate(self) -> float:
        """The learning rate in force."""
        return self.learning_rate or {"lbfgs": 1.0, "adam": 0.02}[self.name]
