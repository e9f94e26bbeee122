"""The checks of a run that need no network: of inputs, output, size and format.

Neither torch nor NumPy is loaded before they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hires_nst.config import Config
from hires_nst.errors import ConfigError, OutputError, is_folder
from hires_nst.events import Notice, OnEvent, ignore
from hires_nst.executors.devices import check_executor
from hires_nst.files import check_exists
from hires_nst.run import directory
from hires_nst.run.masks import check_shape
from hires_nst.run.output_size import OutputSize, output_size_of
from hires_nst.run.record import RESTART
from hires_nst.transfer.levels import check_side, first_level, schedule
from hires_nst.transfer.memory import ALONE, MemoryShare

Resume = Literal["auto", "never", "require"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What a run is to paint, and where.

    Attributes:
        content, output: the files of the content image and of the result.
        config: the settings, with the style images.
        overwrite: whether an existing output may be replaced.
        makes_folder: whether the output's folder is made if it does not exist.
        other_machine: whether the run may go on if it began on another machine, see `record.check_machine`.
        executor, address: see `executors.opening.tile_executor`.
        share: what the run may use of the memory that other runs use too.
    """

    content: Path
    output: Path
    config: Config
    run_dir: Path
    overwrite: bool = False
    makes_folder: bool = False
    other_machine: bool = False
    executor: str = "local"
    address: str | None = None
    share: MemoryShare = ALONE

    @property
    def is_returned(self) -> bool:
        """Whether the result is returned, and its file part of the run directory."""
        return self.output.name == directory.RESULT and self.output.parent.resolve() == self.run_dir.resolve()


def check_options(options: RunOptions, *, resume: Resume) -> None:
    """Raise as `check_executor`, `check_images` and `check_output`."""
    check_executor(options.executor, address=options.address)
    check_images(options.content, options.config)
    check_output(options, resume=resume)


def check_images(content: Path, config: Config) -> None:
    """Raise ConfigError where a style image is needed and missing, and InputError for images that do not exist."""
    config.check_styles()
    for path in (content, *config.pictures):
        check_exists(path)
        if path.is_dir():
            raise is_folder(path)


def check_output(options: RunOptions, *, resume: Resume) -> None:
    """Raise ConfigError or OutputError for an output that cannot be written, replaces an input or has another run."""
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
    writing.check_output(options.output, overwrite=overwrite, inputs=inputs, makes_folder=options.makes_folder)


def sizes_of(
    content: Path, output: Path | None, *, config: Config, emit: OnEvent = ignore
) -> tuple[OutputSize, list[tuple[int, int]]]:
    """The size of the result, and height and width of each style image; the header of each picture is read once.

    Args:
        emit: receives a notice about what is left out or assumed of a picture, as far as its header tells.

    Raises:
        ConfigError, InputError: a picture cannot be read, or is smaller than the deepest layer needs; there is no level
            `init.level`.
        OutputError: the format of the output cannot hold the result.
    """
    from hires_nst.imageio import reading, writing

    sizes = {}
    for path in dict.fromkeys((content, *config.pictures)):
        header = reading.read_header(path, max_megapixels=config.images.max_megapixels)
        sizes[path] = header.size
        for text in header.notes:
            emit(Notice(f"{path}: {text}"))
    size = output_size_of(sizes[content], config, content=content)
    for path in config.masks:
        check_shape(path, sizes[path], of=content, size=sizes[content])
    for style in config.styles:
        if style.own_mask is not None and style.image is not None:
            check_shape(style.own_mask, sizes[style.own_mask], of=style.image, size=sizes[style.image])
    levels, file = schedule(size.height, size.width, levels=config.levels), config.init.file
    size = replace(size, first_level=first_level(levels, config.init, file_size=None if file is None else sizes[file]))
    if output is not None:
        writing.check_format(output, (size.width, size.height), bit_depth=config.output.bit_depth)
    styles = []
    for painting in config.paintings:
        width, height = sizes[painting.image]
        check_side(f"the style {painting.image}", (width, height), config=config)
        styles.append((height, width))
    return size, styles
