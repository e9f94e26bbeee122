"""The jobs of a batch: which photographs in which styles become which pictures, before anything runs."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from hires_nst.batch.names import REPORT_FILES, check_collisions, fields_of, natural, output_name
from hires_nst.batch.paths import BatchPaths
from hires_nst.config import Batch, Config, StyleImage
from hires_nst.errors import ConfigError, HiresNstError, InputError
from hires_nst.run.directory import RECORD
from hires_nst.run.output_size import output_size_of
from hires_nst.transfer.levels import schedule

PICTURES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp"})

HIDDEN, NO_PICTURE, EXCLUDED = (
    "hidden files",
    "files that are no pictures",
    "files that the patterns leave out",
)
OUTPUTS, RUNS, LOCKED = "output folders", "run directories and pictures of reports", "folders that may not be read"
UNMATCHED = "photographs without a painting of their name"

ConfigFor = Callable[[Mapping[str, Any]], Config]
"""The configuration with a job's own settings in it."""


@dataclass(frozen=True)
class Job:
    """One picture to be painted.

    Attributes:
        index: its number in natural order, from 1.
        content: the photograph; whether it is one will turn out.
        output: the picture's path relative to the output folder, in POSIX form. No two jobs have the same.
        config: the effective one, with the paintings in it and without what belongs to the batch.
    """

    index: int
    content: Path
    output: str
    config: Config

    @cached_property
    def id(self) -> str:
        """The same for the same output in every run."""
        return hashlib.sha256(self.output.encode("utf-8", "surrogateescape")).hexdigest()[:16]

    @cached_property
    def size(self) -> tuple[int, int] | None:
        """Width and height of the picture, from the photograph's header; None where that cannot be read."""
        return result_size(self.content, self.config)

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
        levels = schedule(self.size[1], self.size[0], self.config.levels)
        return sum(level.width * level.height * level.evaluations for level in levels)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of every setting that the picture depends on; the input files have digests of their own."""
        return self.config.picture_fingerprint()

    @property
    def inputs(self) -> tuple[Path, ...]:
        """The files that the picture depends on, the photograph first."""
        return self.content, *(file.path for file in self.config.files())


@dataclass(frozen=True)
class Jobs:
    """The jobs in natural order, and how many files were left out for which reason."""

    jobs: tuple[Job, ...]
    left_out: Mapping[str, int]


@dataclass(frozen=True)
class _Found:
    """A photograph with the folder that its picture goes into, relative to the output folder."""

    path: Path
    folder: str = ""


def expand(
    contents: Path | None,
    styles: Sequence[StyleImage],
    output: Path,
    *,
    config_for: ConfigFor,
    preset: str | None = None,
) -> Jobs:
    """The jobs of a command.

    Args:
        contents: a folder, a picture, or a text file with the path of a picture in each line; None for the `jobs` of
            the configuration.
        styles: paintings, or folders of them; each is a style of its own, whatever its weight. Without any, the
            paintings of the configuration are blended into one style, as for a single picture.
        output: the output folder.
        config_for: the effective configuration, given a job's own settings (none for jobs that have none).
        preset: for the template.

    Raises:
        ConfigError: there is nothing to do, two jobs would write the same picture, a picture would take the place of an
            input, or a template or a pairing is not possible.
        InputError: `contents` or a folder of styles is not there.
    """
    common = config_for({})
    if contents is None:
        jobs, left_out = _listed_jobs(common, styles, config_for, preset), Counter[str]()
    else:
        jobs, left_out = _matched_jobs(contents, styles, output, common, preset)
    if not jobs:
        told = ", ".join(f"{reason} ({count})" for reason, count in left_out.items())
        hint = f", besides {told}" if told else ""
        raise ConfigError(f"there is no picture to paint in {contents}{hint}; check the folder, or give --recursive")
    check_collisions((job.output, str(job.content)) for job in jobs)
    sources = {os.path.realpath(path) for job in jobs for path in job.inputs}
    for job in jobs:
        if os.path.realpath(output / job.output) in sources:
            raise ConfigError(f"{output / job.output} would take the place of an input; choose another output folder")
    return Jobs(tuple(jobs), dict(left_out))


def in_order(jobs: Iterable[Job], order: str, *, seed: int) -> list[Job]:
    """The jobs as `batch.order` says: name, size (most pixels first), shuffle, or shortest (least work first).

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
    from hires_nst.imageio.reading import picture_size

    try:
        sheet = output_size_of(picture_size(content, max_megapixels=config.images.max_megapixels), config, content)
    except HiresNstError:
        return None
    return sheet.width, sheet.height


def _matched_jobs(
    contents: Path, styles: Sequence[StyleImage], output: Path, common: Config, preset: str | None
) -> tuple[list[Job], Counter[str]]:
    """Each photograph with each painting, or in pairs."""
    left_out: Counter[str] = Counter()
    found = _photographs(contents, output, common.batch, left_out)
    own = _own_config(common)
    choices: list[tuple[StyleImage, ...]] = [(painting,) for painting in _paintings(styles)] or [own.styles]
    if not styles:
        own.check_styles()
    pairs = _pairs(found, choices, common.batch.match, left_out)
    fields_of(common.batch.template)
    jobs = [
        _job(index, photograph, own.model_copy(update={"styles": chosen}), common.batch.template, preset=preset)
        for index, (photograph, chosen) in enumerate(pairs, start=1)
    ]
    return jobs, left_out


def _listed_jobs(common: Config, styles: Sequence[StyleImage], config_for: ConfigFor, preset: str | None) -> list[Job]:
    """The `jobs` of the configuration."""
    if not common.jobs:
        raise ConfigError("there are no photographs: name their folder, or give jobs: in a configuration")
    if styles:
        raise ConfigError(
            "the jobs of the configuration name their own paintings; give them as style: or styles: there"
        )
    jobs = []
    for index, entry in enumerate(common.jobs, start=1):
        style = {"styles": [{"image": str(entry.style)}]} if entry.style is not None else {}
        own = _own_config(config_for({**entry.set, **style}))
        try:
            own.check_styles()
        except ConfigError as error:
            raise ConfigError(f"jobs.{index - 1}: {error}") from None
        found = _Found(entry.content.expanduser().absolute())
        jobs.append(_job(index, found, own, entry.output or common.batch.template, preset=preset))
    return jobs


def _own_config(config: Config) -> Config:
    """What one picture depends on: without the batch, and with absolute paths.

    Raises:
        ConfigError: it names a run directory, which no two pictures can share.
    """
    if config.checkpoint.directory is not None:
        raise ConfigError(
            "checkpoint.directory is for a single picture; leave it out: a batch keeps the run directories of its "
            "pictures in its output folder"
        )
    config = config.with_files({file.path: file.path.absolute() for file in config.files()})
    return config.model_copy(update={"batch": Batch(), "jobs": ()})


def _job(index: int, found: _Found, config: Config, template: str, *, preset: str | None) -> Job:
    """A job with the name of its picture."""
    size = None
    if fields_of(template) & {"width", "height"}:
        size = result_size(found.path, config)
    values: dict[str, str | int] = {
        "content": found.path.stem,
        "style": "+".join(style.image.stem for style in config.styles) or "none",
        "index": index,
        "parent": found.path.parent.name,
        "width": size[0] if size else 0,
        "height": size[1] if size else 0,
        "preset": preset or "default",
    }
    return Job(index, found.path, output_name(template, values, folder=found.folder), config)


def _pairs(
    found: Sequence[_Found], choices: Sequence[tuple[StyleImage, ...]], match: str, left_out: Counter[str]
) -> list[tuple[_Found, tuple[StyleImage, ...]]]:
    """Which photograph goes with which style, as `batch.match` says."""
    if match == "product":
        return [(photograph, chosen) for photograph in found for chosen in choices]
    if match == "zip":
        if len(found) != len(choices):
            raise ConfigError(
                f"there are {len(found)} photographs and {len(choices)} paintings, which do not make pairs; give as "
                "many of one as of the other, or take --match product"
            )
        return list(zip(found, choices, strict=True))
    by_stem: dict[str, tuple[StyleImage, ...]] = {}
    for chosen in choices:
        for style in chosen:
            stem = style.image.stem.casefold()
            if stem in by_stem:
                raise ConfigError(
                    f"two paintings are called {style.image.stem}, so --match stem cannot choose; rename one"
                )
            by_stem[stem] = (style,)
    pairs = [(photograph, by_stem.get(photograph.path.stem.casefold())) for photograph in found]
    left_out[UNMATCHED] += sum(chosen is None for _, chosen in pairs)
    left_out += Counter()  # drop what is zero
    return [(photograph, chosen) for photograph, chosen in pairs if chosen is not None]


def _photographs(contents: Path, output: Path, batch: Batch, left_out: Counter[str]) -> list[_Found]:
    contents = contents.expanduser().absolute()
    if not contents.exists():
        raise InputError(f"{contents} does not exist; check the name and the folder")
    if contents.is_dir():
        if output.exists() and contents.samefile(output):
            raise ConfigError(f"{output} is the folder of the photographs; choose another one for the pictures")
        found = _walk(contents, output, batch, left_out)
    elif contents.suffix.lower() in PICTURES:
        return [_Found(contents)]
    else:
        found = [_Found(path) for path in _lines(contents)]
        found = [photograph for photograph in found if _wanted(photograph.path.name, batch, left_out)]
        return found  # in the list's own order
    return sorted(found, key=lambda photograph: natural(photograph.path.relative_to(contents).as_posix()))


def _walk(top: Path, output: Path, batch: Batch, left_out: Counter[str]) -> list[_Found]:
    """The photographs in a folder; what is called like a picture is one, even a folder: that it is none gets told."""
    found: list[_Found] = []
    seen: set[str] = set()
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in seen:  # links in a circle
            continue
        seen.add(real)
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            if folder != top:
                left_out[LOCKED] += 1
                continue
            raise InputError(f"the folder {folder} may not be read ({error.strerror}); check its permissions") from None
        for entry in entries:
            path, relative = Path(entry.path), Path(entry.path).relative_to(top)
            if entry.name.startswith("."):
                left_out[HIDDEN] += 1
            elif path.suffix.lower() in PICTURES:
                if _wanted(relative.as_posix(), batch, left_out):
                    found.append(_Found(path, relative.parent.as_posix()))
            elif not entry.is_dir():
                left_out[NO_PICTURE] += 1
            elif reason := _no_photographs_in(path, output):
                left_out[reason] += 1
            elif batch.recursive:
                waiting.append(path)
    return found


def _no_photographs_in(folder: Path, output: Path) -> str | None:
    """Why a folder is left out, if it is."""
    try:
        if BatchPaths(folder).state.exists() or (output.exists() and folder.samefile(output)):
            return OUTPUTS
        return RUNS if folder.name == REPORT_FILES or (folder / RECORD).exists() else None
    except OSError:
        return LOCKED


def _wanted(name: str, batch: Batch, left_out: Counter[str]) -> bool:
    """Whether the patterns let a file in; they hold for its name, or for its path in the folder."""

    def fits(patterns: Sequence[str]) -> bool:
        names = (name, PurePosixPath(name).name)
        return any(fnmatch.fnmatchcase(candidate, pattern) for candidate in names for pattern in patterns)

    if (batch.include and not fits(batch.include)) or fits(batch.exclude):
        left_out[EXCLUDED] += 1
        return False
    return True


def _lines(file: Path) -> list[Path]:
    """The paths in a text file, one in a line, relative to its folder; empty lines and those with # are left out."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{file} is neither a folder, nor a picture, nor a list of paths in UTF-8") from None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); check its permissions") from None
    lines = [line.strip() for line in text.splitlines()]
    return [file.parent / Path(line).expanduser() for line in lines if line and not line.startswith("#")]


def _paintings(styles: Sequence[StyleImage]) -> list[StyleImage]:
    """The paintings of the command line, with the pictures of folders in natural order."""
    result: list[StyleImage] = []
    for style in styles:
        path = style.image.expanduser().absolute()
        if not path.exists():
            raise InputError(f"{path} does not exist; check the name and the folder")
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.suffix.lower() in PICTURES and not p.name.startswith(".")]
            if not inside:
                raise InputError(f"there is no picture in the folder of paintings {path}; check the folder")
            inside.sort(key=lambda picture: natural(picture.name))
            result += [style.model_copy(update={"image": picture}) for picture in inside]
        else:
            result.append(style.model_copy(update={"image": path}))
    return result
