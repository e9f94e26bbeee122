"""The paintings of the configuration, and the regions of the photograph; their defaults stand here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hires_nst.config.section import Number, Positive, Section, Whole

Rotation = Literal[90, 180, 270]


def known_colour(text: str) -> str:
    """The text, if it is a colour; else ValueError."""
    from hires_nst.imageio.transparency import parse_colour  # not on every start

    try:
        parse_colour(text)
    except ValueError:
        raise ValueError(f"{text!r} is no colour; give one such as white or #ff8800") from None
    return text


class StyleImage(Section):
    """A painting, or the pictures of a folder together, as one style: the mean of the statistics of all that it is."""

    image: Path | None = Field(
        None, description="The painting's file, or words that find it in the gallery.", examples=["painting.jpg"]
    )
    folder: Path | None = Field(
        None, description="A folder whose pictures are one style, instead of `image`.", examples=["paintings"]
    )
    images: tuple[Path, ...] = Field(
        (), description="The pictures of the folder; when not given, all that are in it when the run begins."
    )
    weight: Positive = Field(1.0, description="Weight of this painting, or folder, relative to the others.")
    scale: Positive | tuple[Positive, ...] = Field(
        1.0,
        description="Long edge of the painting relative to the result's; smaller gives finer strokes. Several, such as "
        "[0.5, 1], count alike. A painting is never enlarged.",
    )
    size: Annotated[Whole, Field(ge=1, le=500_000)] | None = Field(
        None,
        description="Long edge of the painting in pixels at the finest level, instead of `scale`.",
        examples=[1500],
    )
    rotations: tuple[Rotation, ...] = Field(
        (),
        description="Degrees by which the painting is rotated too, of 90, 180 and 270; each counts as much as upright.",
        examples=[[90, 180, 270]],
    )
    mirror: bool = Field(False, description="Take the painting mirrored too, in each rotation.")
    mask: Path | None = Field(
        None,
        description="Mask of the photograph, white where this painting counts; when not given, it counts where the "
        "masks of the others leave room.",
        examples=["sky.png"],
    )
    mask_colour: str | None = Field(
        None, description="Colour of the mask's part that counts, in place of white, such as blue or #0000ff."
    )
    own_mask: Path | None = Field(
        None, description="Mask of the painting, white where it is taken from.", examples=["painting-sky.png"]
    )
    own_mask_colour: str | None = Field(None, description="Colour of that mask's part that counts, in place of white.")

    @field_validator("mask_colour", "own_mask_colour")
    @classmethod
    def _known_colour(cls, value: str | None) -> str | None:
        return value if value is None else known_colour(value)

    @model_validator(mode="after")
    def _colours_of_masks(self) -> StyleImage:
        for mask in ("mask", "own_mask"):
            if getattr(self, f"{mask}_colour") is not None and getattr(self, mask) is None:
                raise ValueError(f"{mask}_colour is a colour of a mask: give the file under {mask} too")
        return self

    @model_validator(mode="after")
    def _one_source_and_size(self) -> StyleImage:
        if (self.image is None) == (self.folder is None):
            raise ValueError("a style is either image: FILE or folder: FOLDER; give one of them")
        if self.images and self.folder is None:
            raise ValueError("images: are the pictures of a folder: give folder: too, or image: for a single painting")
        if self.size is not None and self.scale != 1.0:
            raise ValueError("scale and size each set the size of the painting; give one of them")
        if self.scale == ():
            raise ValueError("scale needs at least one number")
        if self.own_mask is not None and self.image is None:
            raise ValueError("own_mask is a mask of one painting: give it with image: instead of folder:")
        if len({*self.rotations}) < len(self.rotations):
            raise ValueError("rotations has a number twice; give each once")
        return self

    @property
    def path(self) -> Path:
        """The file, or the folder, by which the style is called."""
        path = self.folder if self.image is None else self.image
        assert path is not None
        return path

    @property
    def paintings(self) -> tuple[Painting, ...]:
        """The painting, or the pictures of the folder, which share its weight equally."""
        files = self.images if self.image is None else (self.image,)
        return tuple(Painting(image=file, weight=self.weight / len(files), style=self) for file in files)

    def scales(self, long_edge: int) -> tuple[float, ...]:
        """The long edges of a painting relative to that of a result of so many pixels."""
        if self.size is not None:
            return (self.size / long_edge,)
        return self.scale if isinstance(self.scale, tuple) else (self.scale,)

    @property
    def orientations(self) -> tuple[tuple[int, bool], ...]:
        """How a painting is taken, upright first: degrees counter-clockwise, and whether it is mirrored before."""
        mirrored = (False, True) if self.mirror else (False,)
        return tuple((degrees, mirror) for mirror in mirrored for degrees in (0, *self.rotations))


@dataclass(frozen=True, kw_only=True)
class Painting:
    """A picture of a style, with its share of the style's weight."""

    image: Path
    weight: float
    style: StyleImage


class Regions(Section):
    """Parts of the photograph that are painted less, or more like it. A painting's own part is under `styles`."""

    protect: Path | Literal["faces"] | None = Field(
        None,
        description="Mask of the photograph, white where it stays as it is; or faces, which are found.",
        examples=["face.png"],
    )
    protect_strength: Annotated[Number, Field(ge=0, le=1)] = Field(
        1.0, description="How much the protected part is protected, 0 to 1."
    )
    content: Path | None = Field(
        None,
        description="Mask of the photograph that loss.content_weight is multiplied by: white is all of it, black none.",
        examples=["content.png"],
    )
