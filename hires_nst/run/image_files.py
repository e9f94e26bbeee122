"""Images in memory as files, so that a run reads, records and resumes them like any others."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hires_nst.config import Config
from hires_nst.events import Notice, OnEvent
from hires_nst.files import make_folder, sha256_of
from hires_nst.gallery import resolved
from hires_nst.imageio import image_list
from hires_nst.run.directory import RunDirectory
from hires_nst.run.prepare import RunOptions

if TYPE_CHECKING:
    from hires_nst.imageio.images import ImageInput


@dataclass(frozen=True, kw_only=True)
class ImageFiles:
    """The input images of a run as files.

    Attributes:
        config: the settings, with the style images.
        given: the settings before the pictures of folders were listed.
        temporary: the files that are in a temporary folder, with their names in the run directory's `inputs`.
    """

    content: Path
    config: Config
    given: Config
    temporary: Mapping[Path, str]

    def stored(self, options: RunOptions, directory: RunDirectory) -> RunOptions:
        """Copy the temporary files into the run directory; the options with their paths there."""
        places = {path: directory.inputs / name for path, name in self.temporary.items()}
        for path, place in places.items():
            make_folder(place.parent)
            if not place.is_file() or sha256_of(place) != sha256_of(path):
                shutil.copyfile(path, place)
        content = places.get(options.content, options.content)
        return replace(options, content=content, config=options.config.with_files(places))


@contextmanager
def image_files(
    content: ImageInput, styles: ImageInput | Iterable[ImageInput], *, config: Config, on_event: OnEvent
) -> Iterator[ImageFiles]:
    """The input images as files while the block runs; those in memory are in a temporary folder, without loss.

    Without `styles`, the style images are those of the configuration. Raises as `to_picture` and `gallery.resolved`.
    """
    several = image_list(styles)
    names = ["content", *(f"style-{number}" for number in range(1, len(several) + 1))]
    images = dict(zip(names, [content, *several], strict=True))
    are_files = all(isinstance(image, (str, os.PathLike)) for image in images.values())
    with nullcontext("") if are_files else tempfile.TemporaryDirectory(prefix="hires-nst-") as folder:
        paths, temporary = list[Path](), dict[Path, str]()
        for name, image in images.items():
            if isinstance(image, (str, os.PathLike)):
                paths.append(Path(image))
            else:
                limit = config.images.max_megapixels
                keep = name == "content" and config.output.metadata == "keep"
                paths.append(_write(image, Path(folder) / name, keep_metadata=keep, limit=limit, on_event=on_event))
                temporary[paths[-1]] = paths[-1].name
        given = config.with_styles(paths[1:])
        yield ImageFiles(
            content=paths[0], config=resolved(given, emit=on_event), given=given, temporary=temporary
        )  # fmt: skip


def _write(image: ImageInput, path: Path, *, keep_metadata: bool, limit: float, on_event: OnEvent) -> Path:
    """Write an image in memory without loss: as PNG if 8 or 16 bits hold its samples exactly, else as a float TIFF."""
    import numpy as np
    import tifffile
    from PIL import Image

    from hires_nst.imageio.colour import srgb_profile
    from hires_nst.imageio.images import to_picture
    from hires_nst.imageio.metadata.embedded import metadata_of
    from hires_nst.imageio.metadata.record import metadata_of_result
    from hires_nst.imageio.transparency import hidden
    from hires_nst.imageio.writing import Encoding, write_picture

    name = {"content": "the photograph"}.get(path.name, f"painting {path.name.rpartition('-')[2]}")
    picture = to_picture(image, max_megapixels=limit, name=name)
    for text in picture.notes:
        on_event(Notice(f"{name}: {text}"))
    pixels, samples = picture.pixels, picture.pixels
    if picture.alpha is not None:  # reading fills what is hidden in the same way again
        pixels = np.where(hidden(picture.alpha)[..., None], np.float32(0), pixels)
        samples = np.dstack([pixels, picture.alpha])
    for bit_depth in (8, 16):
        peak = np.float32((1 << bit_depth) - 1)
        if np.array_equal(np.rint(samples * peak) / peak, samples):
            path = path.with_suffix(".png")
            encoding = Encoding(dpi=None, bit_depth=8 if bit_depth == 8 else 16, quality=100, compression="deflate")
            metadata = None
            if keep_metadata and isinstance(image, Image.Image) and (found := metadata_of(image)):
                # The run itself decides about the place.
                metadata, _ = metadata_of_result(found, origin=None, keep_location=True, kind="PNG")
            write_picture(path, pixels, alpha=picture.alpha, encoding=encoding, metadata=metadata)
            return path
    path = path.with_suffix(".tif")
    extra = None if picture.alpha is None else ["unassalpha"]
    profile = srgb_profile()  # reading would say that it assumed sRGB
    tifffile.imwrite(
        path, samples, photometric="rgb", extrasamples=extra, iccprofile=profile, metadata=None, software=False
    )
    return path
