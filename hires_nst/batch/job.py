"""A job of a batch: one photograph in one style, and its result."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from pathlib import Path

from hires_nst.config import Config
from hires_nst.errors import HiresNstError
from hires_nst.files import FileDigests
from hires_nst.run.output_size import OutputSize, output_size_of
from hires_nst.transfer.levels import schedule


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A photograph in a style that was selected: a job before its picture has a name.

    Attributes:
        template: of the name, with the fields {content}, {style}, {parent} and {index} at most.
        folder: that the picture goes into, relative to the output folder.
        variant: the settings of its own, as text.
    """

    content: Path
    config: Config
    template: str
    folder: str = ""
    variant: str = ""

    @property
    def styles(self) -> tuple[Path, ...]:
        """The paintings, or folders of them that are one style, whatever pictures are in these."""
        return tuple(style.path for style in self.config.styles)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to be painted.

    Attributes:
        index: its number, given once and kept, from 1.
        content: the photograph's file, which is not checked to be a picture.
        output: the picture's path relative to the output folder, in POSIX form. No two jobs have the same.
        config: the effective one, with the paintings and without the sections `batch` and `jobs`.
    """

    index: int
    content: Path
    output: str
    config: Config

    @cached_property
    def id(self) -> str:
        """The same for the same output in every run."""
        return hashlib.sha256(self.output.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the picture, from the photograph's header; None where that cannot be read."""
        return None if self.output_size is None else (self.output_size.width, self.output_size.height)

    @property
    def output_size(self) -> OutputSize | None:
        """`size`, and what becomes of the photograph."""
        return self._planned if isinstance(self._planned, OutputSize) else None

    @property
    def unreadable(self) -> str | None:
        """Why `size` is not known, in one sentence; None if it is."""
        return self._planned if isinstance(self._planned, str) else None

    @cached_property
    def _planned(self) -> OutputSize | str:
        try:
            return planned_size(self.content, self.config)
        except HiresNstError as error:
            return str(error)

    @property
    def pixels(self) -> int:
        """Pixels of the picture; 0 where that is not known."""
        width, height = self.size or (0, 0)
        return width * height

    @property
    def work(self) -> int:
        """Pixels times evaluations, over all levels; 0 where that is not known."""
        if self.size is None:
            return 0
        levels = schedule(self.size[1], self.size[0], levels=self.config.levels)
        return sum(level.canvas_area * level.evaluations for level in levels)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every setting that the picture depends on; the input files have digests of their own."""
        return self.config.picture_fingerprint()

    @cached_property
    def settings_key(self) -> str:
        """The key of the settings in the ledger; the paths of the paintings are among them."""
        return self.config.fingerprint()

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that the picture depends on, the photograph first."""
        return self.content, *(file.path for file in self.config.files())


@dataclass(frozen=True)
class Jobs:
    """The jobs in natural order, and how many files were left out for which reason.

    Attributes:
        choices: what the jobs were made of, to be named again together with other processes; none where they come from
            a ledger.
        digests: of the files that were read for the names.
    """

    jobs: tuple[Job, ...]
    left_out: Mapping[str, int]
    _: KW_ONLY
    choices: tuple[Choice, ...] = ()
    digests: FileDigests = field(default_factory=FileDigests, compare=False)


def in_order(jobs: Iterable[Job], order: str, *, seed: int) -> list[Job]:
    """The jobs in the order `batch.order`: name, size (most pixels first), shuffle, or shortest (least work first).

    A job whose size is not known goes last with size, and first with shortest: it will fail soon.
    """
    ordered = list(jobs)
    if order == "size":
        ordered.sort(key=lambda job: (-job.pixels, job.index))
    elif order == "shortest":
        ordered.sort(key=lambda job: (job.work, job.index))
    elif order == "shuffle":
        random.Random(seed).shuffle(ordered)
    return ordered


def result_size(content: Path, config: Config) -> tuple[int, int] | None:
    """Width and height that the picture will have, from the photograph's header; None where that cannot be read."""
    try:
        size = planned_size(content, config)
    except HiresNstError:
        return None
    return size.width, size.height


def planned_size(content: Path, config: Config) -> OutputSize:
    """The size that the picture will have, from the photograph's header.

    Raises:
        InputError: it cannot be read, or is too small. ConfigError: the picture would be too small.
    """
    from hires_nst.imageio.reading import picture_size

    size = picture_size(content, max_megapixels=config.images.max_megapixels)
    return output_size_of(size, config, content=content)
