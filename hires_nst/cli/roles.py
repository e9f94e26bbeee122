"""Which pictures of a command line are photographs and which are paintings, and mistakes in that."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from hires_nst.cli.options import path_argument, path_option
from hires_nst.cli.progress import MOST_NAMED, listed
from hires_nst.config import is_gallery_name, is_setting
from hires_nst.errors import ConfigError, InputError
from hires_nst.files import check_exists
from hires_nst.gallery import painting_file

StyleWords = Annotated[
    list[Path] | None,
    path_argument(
        metavar="STYLE",
        help="The paintings, by file or by words of the gallery, such as 'van gogh'; they replace those of the "
        "configuration.",
    ),
]
StyleOption = Annotated[
    list[Path] | None,
    path_option(
        "--style",
        metavar="PAINTING",
        help="A painting, as STYLE; repeatable. With it, every picture that is not an option is a photograph.",
    ),
]


@dataclass(frozen=True)
class Roles:
    """The photographs, or folders and lists of them, and the paintings that a command line names.

    Attributes:
        explicit: whether there is no doubt: the paintings were given with `--style`, or by words of the gallery.
    """

    contents: tuple[Path, ...]
    styles: tuple[Path, ...]
    explicit: bool

    @classmethod
    def of(
        cls,
        content: Path | None,
        styles: Sequence[Path] | None,
        *,
        options: Sequence[Path] | None,
        gallery: Callable[[], Sequence[Path]] = tuple,
    ) -> Roles:
        """The roles of a first picture, of the others, and of those with `--style`.

        Args:
            gallery: the folders of the user's own paintings; called where a painting is no file.

        Raises:
            InputError: there is no file or painting of that name. ConfigError: there are several such paintings, or a
                word is a setting.
        """
        words = (*(() if content is None else (content,)), *(styles or ()))
        for word in words:
            _refuse_setting(word)
        contents, paintings = (words, tuple(options)) if options else (words[:1], words[1:])
        for path in contents:
            check_exists(path)
        files = tuple(_painting(path, gallery) for path in paintings)
        named = bool(files) and all(file != path for file, path in zip(files, paintings, strict=True))
        return cls(contents, files, bool(options) or named)

    def check_single(self, command: str, *, output: str | None, merged: bool | None = False) -> Path:
        """The photograph, if the command line has the roles of `stylize`.

        Args:
            merged: whether a folder of paintings is one style.

        Raises:
            ConfigError: there are several photographs, or a photograph among the paintings, almost surely.
            InputError: a folder stands for a picture.
        """
        content, folder = self.contents[0], _folder_for(output)
        if len(self.contents) > 1:
            several = command_line("batch", self.contents, styles=self.styles, output=folder)
            raise ConfigError(f"`stylize` paints one photograph, not {len(self.contents)}; for several: `{several}`")
        if content.is_dir():
            batch = command_line("batch", [content], styles=self.styles or [Path("PAINTING")], output=folder)
            raise InputError(f"{content} is a folder; to paint the photographs in it: `{batch}`")
        for style in self.styles:
            if style.is_dir() and not merged:
                batch = command_line("batch", [content], styles=self.styles, output=folder)
                raise InputError(
                    f"the painting {style} is a folder; name the pictures in it, or take all of them together as one "
                    f"style with --merge-styles, or paint in the style of each of them with `{batch}`"
                )
        if not self.explicit:
            self._check_paintings(command, output)
        return content

    def check_batch(self, *, output: Path) -> None:
        """Raise ConfigError for several pictures without `--style`, which are almost surely all photographs but one."""
        from hires_nst.batch.selection import is_batch

        (content, *_), styles = self.contents, self.styles
        if self.explicit or len(styles) < 2 or any(is_batch(path) for path in (content, *styles)):
            return
        glob = command_line("batch", [content, *styles[:-1]], styles=styles[-1:], output=str(output))
        single = command_line("batch", [content], styles=styles, output=str(output))
        raise ConfigError(
            f"photographs or paintings: {listed(styles[:-1])}? If photographs: `{glob}`; if paintings: `{single}`"
        )

    def _check_paintings(self, command: str, output: str | None) -> None:
        """Raise ConfigError where a painting is the photograph, or one of several is named like it."""
        (content,), styles = self.contents, self.styles
        same = [style for style in styles if _is_same_file(style, content)]
        alike = same or [style for style in styles if len(styles) > 1 and _is_of_series(style, content)]
        if not alike:
            return
        intended = command_line(command, [content], styles=styles, output=output)
        if len(alike) == len(styles) == 1:
            raise ConfigError(f"the painting {alike[0]} is the photograph itself; if it is meant: `{intended}`")
        what = "is the photograph itself" if same else f"is named like the photograph {content}"
        others = [style for style in styles if style not in alike] or [Path("PAINTING")]
        photographs = list(dict.fromkeys((content, *alike)))
        several = command_line("batch", photographs, styles=others, output=_folder_for(output))
        raise ConfigError(
            f"the painting {alike[0]} {what}; if it is meant: `{intended}`; for several photographs: `{several}`"
        )


def _refuse_setting(word: Path) -> None:
    """Raise ConfigError for `levels.rounds=3` among the pictures, which belongs to an option of its own."""
    key, equals, _ = str(word).partition("=")
    if equals and not os.path.lexists(word) and is_setting(key):
        raise ConfigError(f"{word} is a setting; write --set {word}")


def command_line(command: str, contents: Sequence[Path], *, styles: Sequence[Path], output: str | None) -> str:
    """A command line with these roles, quoted for a shell."""
    words = [*_shortened(contents), *(f"--style {style}" for style in _shortened(styles))]
    words += [] if output is None else ["-o", _quoted(output)]
    return " ".join(["hires-nst", command, *words])


def _painting(path: Path, gallery: Callable[[], Sequence[Path]]) -> Path:
    """The file of a painting, which may be one of the gallery."""
    if not os.path.lexists(path) and is_gallery_name(path):
        return painting_file(path, gallery())
    check_exists(path)
    return path


def _shortened(paths: Sequence[Path]) -> list[str]:
    names = [_quoted(str(path)) for path in paths]
    return names if len(names) <= MOST_NAMED else [names[0], "...", names[-1]]


def _quoted(name: str) -> str:
    return shlex.quote(f"./{name}" if name.startswith("-") else name)


def _folder_for(output: str | None) -> str:
    """A folder for several pictures, named after the file for one."""
    return str(Path(output).with_suffix("")) if output and Path(output).name else "painted"


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _is_of_series(one: Path, other: Path) -> bool:
    """Whether two files of a folder have the same name but for numbers in it: IMG_0001.jpg, IMG_0002.jpg."""

    def words(path: Path) -> str:
        return re.sub(r"[\W_]*\d+[\W_]*", "", path.stem).casefold()

    return one.parent.absolute() == other.parent.absolute() and words(one) == words(other)
