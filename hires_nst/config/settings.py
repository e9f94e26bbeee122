"""Settings by dotted key, such as `levels.rounds`, and which of them a picture depends on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, Literal, NamedTuple

from hires_nst.imageio.recognition import is_named_like_a_picture

FREE_SETTINGS = (
    "batch", "jobs", "gallery", "checkpoint", "images", "runtime.device", "runtime.memory", "runtime.canvas",
    "runtime.workers",
)  # fmt: skip
"""Settings that do not change the picture: a run may be resumed with other values, and a batch does not repaint."""

FileRole = Literal["photograph", "painting", "mask of the painting", "mask", "initial image", "weights", "network"]
"""What an input file is for, in the words of messages; run.json stores them. A network is one from Python."""

MASKS: tuple[FileRole, ...] = ("mask of the painting", "mask")

_FILE_KEYS: Mapping[FileRole, re.Pattern[str]] = {
    "painting": re.compile(r"styles\.\d+\.(image|images|folder)"),
    "mask of the painting": re.compile(r"styles\.\d+\.own_mask"),
    "mask": re.compile(r"styles\.\d+\.mask|regions\.(protect|content)"),
    "initial image": re.compile(r"init\.file"), "weights": re.compile(r"model\.weights"),
}  # fmt: skip


class NamedFile(NamedTuple):
    """A file that a configuration names, and what it is for."""

    role: FileRole
    path: Path


def is_gallery_name(path: PurePath | str) -> bool:
    """Whether a painting is named by words, such as `van gogh`: without a folder, and without a picture's suffix."""
    path = PurePath(path)
    return path.name == str(path) and not is_named_like_a_picture(path)


@lru_cache(maxsize=1024)  # a batch asks for the same keys with every job
def role_of(key: str) -> FileRole | None:
    """What the file is for that a dotted key names; None for the key of another setting."""
    return next((role for role, pattern in _FILE_KEYS.items() if pattern.fullmatch(key)), None)


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key: `{"levels": {"rounds": 3}}` gives `{"levels.rounds": 3}`.

    Entries of a list of mappings are numbered from 0 (`styles.0.scale`), as in messages about the configuration; other
    lists are values. Empty mappings and lists are left out.
    """
    result: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
            value = {str(number): item for number, item in enumerate(value)}
        if isinstance(value, Mapping):
            result |= flatten(value, f"{prefix}{key}.")
        elif not (isinstance(value, (list, tuple)) and not value):
            result[f"{prefix}{key}"] = value
    return result


def nest(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key as nested settings: `{"levels.rounds": 3}` gives `{"levels": {"rounds": 3}}`."""
    result: dict[str, Any] = {}
    for key, value in values.items():
        *sections, name = key.split(".")
        place = result
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return result


def picture_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that the picture depends on, by dotted key.

    Paths of input files are not among them, but whether there is a mask is: the files are compared by their content.
    """
    found = {key: value for key, value in flatten(data).items() if not _is_free(key)}
    masks = {key: _mask_setting(value) for key, value in found.items() if role_of(key) in MASKS and value is not None}
    return {key: value for key, value in found.items() if not role_of(key)} | masks


def _mask_setting(value: Any) -> str:
    """What the picture depends on of a mask's setting, besides the content of a file."""
    return "faces" if value == "faces" else "file"


@lru_cache(maxsize=1024)
def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE_SETTINGS)
