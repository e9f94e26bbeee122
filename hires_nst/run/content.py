"""The content image of a run, and what it is at each level."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hires_nst.errors import InputError
from hires_nst.imageio import resize
from hires_nst.imageio.picture import Floats
from hires_nst.run.canvases import read_image
from hires_nst.run.context import RunContext
from hires_nst.run.output_size import OutputSize
from hires_nst.run.regions import LevelRegions, RunRegions, read_regions
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level
from hires_nst.transfer.regions import Region
from hires_nst.transfer.weights import PixelWeights, WeightedImage


@dataclass(kw_only=True)
class ContentImage:
    """The content image as read. A level's border shows what surrounds the crop, mirrored where the image ends.

    Attributes:
        pixels: (H, W, 3), sRGB in [0, 1]; None once they are released.
        alpha: (H, W), in [0, 1]; None where all of it is opaque.
        crop: left, top, width and height of the part that the picture shows.
        regions: parts with styles of their own, and the like; None for none.
    """

    pixels: Floats | None
    alpha: Floats | None
    crop: tuple[int, int, int, int]
    regions: RunRegions | None = None

    @property
    def painted(self) -> tuple[Floats, Floats | None]:
        """The part that the picture shows: its pixels, and its alpha channel; only before they are released."""
        assert self.pixels is not None
        left, top, width, height = self.crop
        part = slice(top, top + height), slice(left, left + width)
        return self.pixels[part], None if self.alpha is None else self.alpha[part]

    def writeable(self) -> Floats:
        """The pixels, which may be changed before they are released."""
        assert self.pixels is not None
        if not self.pixels.flags.writeable:
            self.pixels = self.pixels.copy()
        return self.pixels

    def at(self, level: Level, context: RunContext) -> WeightedImage:
        """The content image of a level with its border, weighted by its alpha channel."""
        return WeightedImage(self.pixels_at(level, context), self.weights_at(level, context))

    def pixels_at(self, level: Level, context: RunContext) -> Canvas:
        """The pixels of a level with its border; only before they are released."""
        assert self.pixels is not None
        return self._resized(self.pixels, level, context=context)

    def weights_at(self, level: Level, context: RunContext) -> PixelWeights | None:
        """The alpha channel of a level with its border."""
        if self.alpha is None:
            return None
        return PixelWeights.of(self._resized(self.alpha[..., None], level, context=context))

    def regions_at(self, level: Level, alpha: PixelWeights | None, *, context: RunContext) -> LevelRegions:
        """The regions of a level with its border, within its alpha channel; raises as `RunRegions.at`."""
        if self.regions is None:
            return LevelRegions((Region(),))
        return self.regions.at(level, alpha, context=context)

    def release(self) -> None:
        """Free the memory of the pixels, after the last level's are made."""
        self.pixels = None

    def _resized(self, source: Floats, level: Level, *, context: RunContext) -> Canvas:
        # The photograph has 8 to 16 bits: half precision is enough for it.
        is_colour = source.shape[2] == 3
        canvas = context.place(
            *level.canvas_size, channels=source.shape[2], sample="float16" if is_colour else "float32"
        )  # fmt: skip
        resize.resize_strips(
            source, canvas.pixels, kernel=resize.COLOUR_KERNEL if is_colour else resize.ALPHA_KERNEL,
            box=level.canvas_box(self.crop), check_stop=context.check_stop,
        )  # fmt: skip
        return canvas


def read_content(path: Path, size: OutputSize, *, context: RunContext, with_regions: bool = True) -> ContentImage:
    """The content image.

    Args:
        with_regions: whether its masks are read too.

    Raises:
        InputError: it cannot be read, or nothing in the part that is painted is visible; and as `read_regions`.
    """
    picture = read_image(path, context)
    regions = None
    if with_regions and (context.config.masks or context.config.regions.protect is not None):
        regions = read_regions(path, picture.pixels, crop=size.crop, context=context)
    if picture.alpha is None:
        return ContentImage(pixels=picture.pixels, alpha=None, crop=size.crop, regions=regions)
    # What surrounds the crop may be hidden, and its colours arbitrary.
    left, top, width, height = size.crop
    part = slice(top, top + height), slice(left, left + width)
    pixels, alpha, crop = picture.pixels[part], picture.alpha[part], (0, 0, width, height)
    if float(alpha.min()) == 1:
        return ContentImage(pixels=pixels, alpha=None, crop=crop, regions=regions)
    content = ContentImage(pixels=pixels, alpha=alpha, crop=crop, regions=regions)
    weights = content.weights_at(Level(index=0, height=size.height, width=size.width, rounds=0, steps=0), context)
    if weights is not None and weights.total(context.config.stride) == 0:
        raise InputError(f"what would be used of {path} is transparent; give a picture that is visible there")
    return content
