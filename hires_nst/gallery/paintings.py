"""The paintings of the gallery: the pictures of its folders, with what is known of each."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from hires_nst.config import Section, read_yaml
from hires_nst.config.messages import sentence
from hires_nst.errors import ConfigError, nearest
from hires_nst.imageio.recognition import pictures_in

BUNDLED = Path(__file__).parent / "bundled"
"""The folder of the paintings that come with the program."""

FACTS = "gallery.yaml"
"""The file in a folder with the facts of its paintings, by the names of their files."""


class Facts(Section):
    """What is known of a painting."""

    painter: str = ""
    title: str = ""
    year: int | str = ""
    source: str = ""
    licence: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class GalleryPainting:
    """A painting of the gallery."""

    file: Path
    facts: Facts

    @property
    def name(self) -> str:
        """What its file is called, in words: `van gogh starry night`."""
        return " ".join(re.findall(r"[^\W_]+", self.file.stem)) or self.file.stem

    @cached_property
    def words(self) -> frozenset[str]:
        """The words by which it is found: of its name, painter, title, year and tags, as `words_of` gives them."""
        facts = self.facts
        return words_of(" ".join([self.name, facts.painter, facts.title, str(facts.year), *facts.tags]))


def words_of(text: str) -> frozenset[str]:
    """The words of a text in small letters without accents: `Portrait à l'huile` has portrait, a, l and huile."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    return frozenset(re.findall(r"[^\W_]+", "".join(one for one in letters if not unicodedata.combining(one))))


def paintings(folders: Iterable[Path] = ()) -> tuple[GalleryPainting, ...]:
    """The user's paintings, folder by folder, and those of the program, without those of a name that came before.

    Raises:
        InputError: a folder cannot be read, or there is no picture in it. ConfigError: its gallery.yaml is not valid.
    """
    found: dict[str, GalleryPainting] = {}
    for folder in (*folders, BUNDLED):
        for painting in _paintings_in(folder):
            found.setdefault(painting.name.casefold(), painting)
    return tuple(found.values())


def bundled_name(file: Path) -> str | None:
    """The words of a painting that comes with the program; None for any other file."""
    return GalleryPainting(file, Facts()).name if file.parent == BUNDLED else None


def _paintings_in(folder: Path) -> list[GalleryPainting]:
    files, _ = pictures_in(folder)
    facts = _facts(folder / FACTS, {file.name for file in files})
    return [GalleryPainting(file, facts.get(file.name, Facts())) for file in files]


def _facts(file: Path, names: set[str]) -> dict[str, Facts]:
    """The facts in a file, which need not be there, by the names of the pictures; `names` are those that there are."""
    found = {}
    for name, facts in (read_yaml(file) if file.exists() else {}).items():
        if name not in names:
            raise ConfigError(f"{file}: there is no picture {name!r} in the folder{nearest(str(name), sorted(names))}")
        try:
            found[name] = Facts.model_validate(facts)
        except ValidationError as error:
            raise ConfigError(f"{file}: {name}: {sentence(error, Facts)}") from None
    return found
