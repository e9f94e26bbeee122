"""The checks of a run that need no network: of inputs, output, size and format.

Neither torch nor NumPy is loaded before they are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hires_nst.config import Config
from hires_nst.errors import ConfigError, InputError, OutputError
from hires_nst.run import directory
from hires_nst.run.output_size import OutputSize, output_size_of
from hires_nst.run.record import RESTART
from hires_nst.transfer.levels import check_side

Resume = Literal["auto", "never", "require"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a run is to paint, and where.

    Attributes:
        content: the file of the content image.
        output: the file of the result.
        config: the settings, with the style images.
        run_dir: the run directory.
        overwrite: whether an existing output may be replaced.
    """

    content: Path
    output: Path
    config: Config
    run_dir: Path
    overwrite: bool = False

    @property
    def is_returned(self) -> bool:
        """Whether the result is returned, and its file part of the run directory."""
        return self.output.name == directory.RESULT and self.output.parent.resolve() == self.run_dir.resolve()


def prepare(options: RunOptions, *, resume: Resume) -> OutputSize:
    """Check everything that can be checked before the run directory is locked and the network is loaded.

    Returns:
        The size of the result.

    Raises:
        ConfigError, InputError, OutputError: one sentence that says what to do.
    """
    check_images(options.content, options.config)
    check_output(options, resume=resume)
    size = size_of(options.content, options.config)
    config = options.config

    from hires_nst.imageio import writing

    writing.check_format(options.output, (size.width, size.height), bit_depth=config.output.bit_depth)
    style_sizes(config)
    return size


def check_images(content: Path, config: Config) -> None:
    """Refuse a configuration without a style image that it needs, and images that do not exist.

    Raises:
        ConfigError, InputError: as said.
    """
    config.check_styles()
    for path in (content, *config.pictures):
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name and the folder")
        if path.is_dir():
            raise InputError(f"{path} is a folder; give the picture file itself")


def check_output(options: RunOptions, *, resume: Resume) -> None:
    """Refuse an output that cannot be written, would replace an input, or does not fit the run directory.

    Raises:
        ConfigError, OutputError: as said.
    """
    folder, exists = options.run_dir, directory.is_run(options.run_dir)
    if resume == "require" and not exists:
        raise ConfigError(f"there is no run in {folder} to resume; leave out --resume require to start one")
    if resume == "never" and exists and not options.overwrite:
        command = directory.resume_command(folder)
        raise OutputError(f"{folder} contains an interrupted run; resume it with `{command}`, or {RESTART}")
    if options.is_returned:
        return

    from hires_nst.imageio import writing

    inputs = (options.content, *options.config.pictures)
    overwrite = options.overwrite or exists  # the run may have written it
    writing.check_output(options.output, overwrite=overwrite, inputs=inputs)


def size_of(content: Path, config: Config) -> OutputSize:
    """The size of the result.

    Raises:
        InputError, ConfigError: as `picture_size` and `output_size_of`.
    """
    from hires_nst.imageio import reading

    size = reading.picture_size(content, max_megapixels=config.images.max_megapixels)
    return output_size_of(size, config, content=content)


def style_sizes(config: Config) -> Sequence[tuple[int, int]]:
    """Heights and widths of the style images.

    Raises:
        InputError: one cannot be read, or is smaller than the deepest layer needs.
    """
    from hires_nst.imageio import reading

    sizes = []
    for style in config.styles:
        width, height = reading.picture_size(style.image, max_megapixels=config.images.max_megapixels)
        check_side(f"the style {style.image}", (width, height), config=config)
        sizes.append((height, width))
    return sizes
