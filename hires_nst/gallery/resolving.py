"""The files of paintings that are given by words of the gallery, or by their folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hires_nst.config import Config, StyleImage, is_gallery_name
from hires_nst.errors import InputError
from hires_nst.events import Notice, OnEvent, ignore
from hires_nst.files import check_exists
from hires_nst.gallery.paintings import paintings
from hires_nst.gallery.search import advice, the_one
from hires_nst.imageio.recognition import pictures_in
from hires_nst.quantities import counts


def painting_file(path: Path, folders: Sequence[Path] = ()) -> Path:
    """The file of a painting: `path` itself, unless there is none and it is made of words for one of the gallery.

    A path, with a folder or a picture's suffix, is never looked up, and need not exist.

    Args:
        folders: of the user's own paintings.

    Raises:
        InputError: neither a file nor a painting of the gallery is called that; the nearest ones are named.
        ConfigError: several paintings are.
    """
    if os.path.lexists(path) or not is_gallery_name(path):
        return path
    known = paintings(folders)
    found = the_one(str(path), known)
    if found is None:
        check_exists(path, otherwise=advice(str(path), known))
    return path if found is None else found.file


def resolved(config: Config, *, emit: OnEvent = ignore) -> Config:
    """The configuration with the files of its paintings: those of the gallery found, those of folders listed.

    Where folders are listed already, they stay so, as in a run that goes on.

    Args:
        emit: receives a notice about pictures of a folder that cannot be read here.

    Raises:
        InputError, ConfigError: as `painting_file`; a folder cannot be read, or there is no picture in it.
    """
    styles = tuple(_resolved(style, config, emit=emit) for style in config.styles)
    return config.model_copy(update={"styles": styles})


def _resolved(style: StyleImage, config: Config, *, emit: OnEvent) -> StyleImage:
    if style.image is not None:
        return style.model_copy(update={"image": painting_file(style.image, config.gallery_folders)})
    assert style.folder is not None
    if style.images:
        return style
    check_exists(style.folder)
    if not style.folder.is_dir():
        raise InputError(f"{style.folder} is not a folder; give a single painting as image:")
    found, unreadable = pictures_in(style.folder)
    if unreadable:
        emit(Notice(f"{style.folder}: left out {counts(unreadable)}"))
    return style.model_copy(update={"images": tuple(found)})
