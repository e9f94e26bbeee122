"""The selection of a batch's jobs: which photographs in which styles become which pictures."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import Any

from hires_nst.batch.job import Choice, Jobs, result_size
from hires_nst.batch.ledger_names import register_of
from hires_nst.batch.names import REPORT_FILES, fields_of, filled
from hires_nst.batch.naming import name_jobs
from hires_nst.batch.paths import BatchPaths
from hires_nst.config import Batch, Config, StyleImage
from hires_nst.errors import ConfigError, InputError
from hires_nst.events import json_line
from hires_nst.files import FileDigests, check_exists, natural
from hires_nst.gallery import resolved
from hires_nst.imageio.recognition import is_named_like_a_picture, is_picture, pictures_in, recognise
from hires_nst.quantities import counts
from hires_nst.run.directory import RECORD

UNREADABLE = "folders that cannot be read"

ConfigFor = Callable[[Mapping[str, Any]], Config]
"""The configuration with a job's own settings in it."""


def is_batch(contents: Path) -> bool:
    """Whether a path is a folder or a list of photographs; not one photograph, and not a path that does not exist."""
    return contents.is_dir() or (contents.is_file() and not is_picture(contents))


def expand(
    contents: Sequence[Path] | None,
    output: Path,
    *,
    styles: Sequence[StyleImage],
    config: Config,
    config_for: ConfigFor,
    preset: str | None = None,
) -> Jobs:
    """The jobs of a batch, as `hires_nst.batch.jobs` with the same arguments."""
    if contents is None:
        choices, left_out = _listed_jobs(config, config_for, styles=styles, preset=preset), Counter[str]()
    else:
        choices, left_out = _matched_jobs(contents, output, styles=styles, config=config, preset=preset)
    if not choices:
        hint = f" (left out: {counts(left_out)})" if left_out else ""
        places = ", ".join(map(str, contents or ()))
        raise ConfigError(f"no photographs found in {places}{hint}; check the folder")
    digests = FileDigests()
    jobs = name_jobs(choices, register_of(output), digests=digests).jobs
    sources = {os.path.realpath(path) for job in jobs for path in job.inputs}
    for job in jobs:
        if os.path.realpath(output / job.output) in sources:
            raise ConfigError(f"{output / job.output} would replace an input; choose another output folder")
    if len(jobs) < len(choices):
        left_out["photographs named twice"] += len(choices) - len(jobs)
    return Jobs(jobs, dict(left_out), choices=tuple(choices), digests=digests)


def _matched_jobs(
    contents: Sequence[Path], output: Path, *, styles: Sequence[StyleImage], config: Config, preset: str | None
) -> tuple[list[Choice], Counter[str]]:
    """Each photograph with each painting, or in pairs."""
    search = _Search(output, config.batch)
    found = list(dict.fromkeys(chain.from_iterable(map(search.found_in, contents))))
    own = _own_config(config)
    given = _style_images(styles, config, left_out=search.left_out)
    styles_to_use: list[tuple[StyleImage, ...]] = [(style,) for style in given] or [own.styles]
    if not styles:
        own.check_styles()
    pairs = search.pairs(found, styles_to_use)
    template = config.batch.template
    fields_of(template)
    choices = [
        _choice(content, own.model_copy(update={"styles": chosen}), template=template, preset=preset)
        for content, chosen in pairs
    ]
    return choices, search.left_out


def _listed_jobs(
    config: Config, config_for: ConfigFor, *, styles: Sequence[StyleImage], preset: str | None
) -> list[Choice]:
    """The `jobs` of the configuration."""
    if not config.jobs:
        raise ConfigError("there are no photographs: name their folder, or give jobs: in a configuration")
    if styles:
        raise ConfigError(
            "the jobs of the configuration name their own paintings; give them as style: or styles: there"
        )
    choices = []
    for index, entry in enumerate(config.jobs):
        style = {"styles": [{"image": str(entry.style)}]} if entry.style is not None else {}
        own = _own_config(config_for({**entry.set, **style}))
        try:
            own.check_styles()
        except ConfigError as error:
            raise ConfigError(f"jobs.{index}: {error}") from None
        found = _Found(entry.content.expanduser().absolute())
        template = entry.output or config.batch.template
        choices.append(_choice(found, own, template=template, preset=preset, variant=json_line(entry.set)))
    return choices


def _own_config(config: Config) -> Config:
    """The configuration of one picture: without the batch's sections, and with absolute paths of its files.

    Raises:
        ConfigError: it names a run directory, which no two pictures can share. As `gallery.resolved`.
    """
    if config.checkpoint.directory is not None:
        raise ConfigError(
            "checkpoint.directory is for a single picture; leave it out: a batch keeps the run directories of its "
            "pictures in its output folder"
        )
    return _with_absolute_paths(resolved(config)).model_copy(update={"batch": Batch(), "jobs": ()})


def _with_absolute_paths(config: Config) -> Config:
    paths = [*(file.path for file in config.files()), *(style.path for style in config.styles)]
    return config.with_files({path: path.absolute() for path in paths})


def _choice(found: _Found, config: Config, *, template: str, preset: str | None, variant: str = "") -> Choice:
    """A choice, with a template that has the size and the preset in it."""
    size = result_size(found.path, config) if fields_of(template) & {"width", "height"} else None
    width, height = size or (0, 0)
    template = filled(template, {"width": width, "height": height, "preset": preset or "default"})
    return Choice(content=found.path, config=config, template=template, folder=found.folder, variant=variant)


@dataclass(frozen=True)
class _Found:
    """A photograph with the folder that its picture goes into, relative to the output folder."""

    path: Path
    folder: str = ""


@dataclass
class _Search:
    """The search for photographs, and how many files it left out for which reason."""

    output: Path
    batch: Batch
    left_out: Counter[str] = field(default_factory=Counter)

    def found_in(self, contents: Path) -> list[_Found]:
        """The photographs of a folder or a list, or one photograph."""
        contents = contents.expanduser().absolute()
        check_exists(contents)
        if contents.is_dir():
            if self.output.exists() and contents.samefile(self.output):
                raise ConfigError(
                    f"{self.output} is the folder of the photographs; choose another one for the pictures"
                )
            return sorted(self._walk(contents), key=lambda found: natural(found.path.relative_to(contents).as_posix()))
        if is_picture(contents):
            return [_Found(contents)]
        return [_Found(path) for path in _lines(contents) if self._includes(path.name)]  # in the list's own order

    def _walk(self, top: Path) -> list[_Found]:
        """The photographs in a folder: what is a picture by its content, and what is only named like one (damaged
        files, and folders too), which then fails by name.
        """

        def unreadable(error: OSError) -> None:
            if error.filename == str(top):
                raise InputError(f"the folder {top} cannot be read ({error.strerror}); check its permissions") from None
            self.left_out[UNREADABLE] += 1

        found: list[_Found] = []
        seen: set[str] = set()
        for name, folders, files in os.walk(top, onerror=unreadable, followlinks=True):
            inside = sorted(folders)
            folders.clear()  # of these, the ones to walk through follow
            if (real := os.path.realpath(name)) in seen:  # a circle of links
                continue
            seen.add(real)
            for path in (Path(name, entry) for entry in files + inside):
                relative = path.relative_to(top)
                if path.name.startswith("."):
                    self.left_out["hidden files"] += 1
                elif (format := recognise(path)) or is_named_like_a_picture(path):
                    if not self._includes(relative.as_posix()):
                        continue
                    if format and not format.readable:
                        self.left_out[format.unreadable] += 1
                    else:
                        found.append(_Found(path, relative.parent.as_posix()))
                elif path.name not in inside:
                    self.left_out["files that are not pictures"] += 1
                elif reason := self._reason_against(path):
                    self.left_out[reason] += 1
                elif self.batch.recursive:
                    folders.append(path.name)
                else:
                    self.left_out["folders inside (--recursive includes them)"] += 1
        return found

    def _reason_against(self, folder: Path) -> str | None:
        """The reason to leave a folder out, if there is one."""
        try:
            if BatchPaths(folder).state.exists() or (self.output.exists() and folder.samefile(self.output)):
                return "output folders"
            return (
                "run directories and pictures of reports"
                if folder.name == REPORT_FILES or (folder / RECORD).exists()
                else None
            )
        except OSError:
            return UNREADABLE

    def _includes(self, name: str) -> bool:
        """Whether the patterns include a file; they are matched with its name and with its path in the folder."""

        def fits(patterns: Sequence[str]) -> bool:
            names = (name, PurePosixPath(name).name)
            return any(fnmatch.fnmatchcase(candidate, pattern) for candidate in names for pattern in patterns)

        if (self.batch.include and not fits(self.batch.include)) or fits(self.batch.exclude):
            self.left_out["files excluded by the patterns"] += 1
            return False
        return True

    def pairs(
        self, found: Sequence[_Found], choices: Sequence[tuple[StyleImage, ...]]
    ) -> list[tuple[_Found, tuple[StyleImage, ...]]]:
        """The pairs of photographs and styles, as `batch.match` requires."""
        if self.batch.match == "product":
            every = [(content, chosen) for content in found for chosen in choices]
            pairs = [pair for pair in every if pair[0].path not in _files(pair[1])] or every
            if len(pairs) < len(every):
                self.left_out["pictures in their own style"] += len(every) - len(pairs)
            return pairs
        if self.batch.match == "zip":
            if len(found) != len(choices):
                raise ConfigError(
                    f"there are {len(found)} photographs and {len(choices)} paintings, which do not pair up; give as "
                    "many of one as of the other, or use --match product"
                )
            return list(zip(found, choices, strict=True))
        by_stem: dict[str, tuple[StyleImage, ...]] = {}
        for style in chain.from_iterable(choices):
            stem = style.path.stem.casefold()
            if stem in by_stem:
                raise ConfigError(
                    f"two paintings are called {style.path.stem}, so --match stem cannot choose; rename one"
                )
            by_stem[stem] = (style,)
        matched = [(content, by_stem.get(content.path.stem.casefold())) for content in found]
        self.left_out["photographs without a matching painting"] += sum(chosen is None for _, chosen in matched)
        self.left_out += Counter()  # drops zeros
        return [(content, chosen) for content, chosen in matched if chosen is not None]


def _lines(file: Path) -> list[Path]:
    """The paths in a text file, one in a line, relative to its folder; empty lines and those with # are left out."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(
            f"{file} is neither a folder, nor a picture, nor a list of paths in UTF-8; give one of them"
        ) from None
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); check its permissions") from None
    lines = [line.strip() for line in text.splitlines()]
    return [file.parent / Path(line).expanduser() for line in lines if line and not line.startswith("#")]


def _files(styles: Sequence[StyleImage]) -> list[Path]:
    return [painting.image for style in styles for painting in style.paintings]


def _style_images(styles: Sequence[StyleImage], config: Config, *, left_out: Counter[str]) -> list[StyleImage]:
    """The styles of the command line; a folder that stands for a painting is as many styles as it has pictures."""
    named = config.model_copy(update={"styles": tuple(styles)})
    result: list[StyleImage] = []
    for style in named.with_files({style.path: style.path.expanduser() for style in styles}).styles:
        folder = style.path.absolute()
        if style.images or not (os.path.lexists(folder) and folder.is_dir()):
            result.append(style)
            continue
        inside, unreadable = pictures_in(folder)
        left_out.update(unreadable)
        if style.image is None:
            result.append(style.model_copy(update={"images": tuple(inside)}))
        else:
            result += [style.model_copy(update={"image": picture}) for picture in inside]
    found = _with_absolute_paths(resolved(named.model_copy(update={"styles": tuple(result)})))
    for file in _files(found.styles):
        check_exists(file)
    return [*found.styles]
