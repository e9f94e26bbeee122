"""How a picture was made: written into it, and read from it again by `show`. Does not import torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hires_nst.config import FREE_SETTINGS, Config, StyleImage, commented_yaml, flatten, parse_config, role_of
from hires_nst.errors import ConfigError, InputError
from hires_nst.events import Notice, OnEvent
from hires_nst.files import atomic_write, check_free
from hires_nst.gallery.paintings import bundled_name
from hires_nst.imageio.formats import written_format
from hires_nst.version import VERSION

if TYPE_CHECKING:
    from hires_nst.imageio.metadata.record import Metadata


@dataclass(frozen=True, kw_only=True)
class PictureInfo:
    """What a picture says of how it was made.

    Attributes:
        dpi: dots per inch; None if they are not noted.
        version: of the program.
        styles: the names of the paintings' files.
        settings: those on which the picture depends, as in a configuration; files by name, without their folders.
        facts: of the photograph, those known of author, date, copyright, title and description.
    """

    picture: Path
    width: int
    height: int
    dpi: float | None
    program: str
    version: str
    styles: tuple[str, ...]
    settings: Mapping[str, Any]
    facts: Mapping[str, str]

    @property
    def changed(self) -> dict[str, Any]:
        """The settings that differ from the defaults of this version, by dotted key, without the paintings' names."""
        defaults = flatten(portable_settings(Config()))
        of_style = StyleImage(image=Path("painting")).model_dump(mode="json", exclude_none=True)

        def default(key: str) -> Any:
            _, _, name = key.partition(".")[2].partition(".")
            return of_style.get(name) if key.startswith("styles.") else defaults.get(key)

        given = {key: value for key, value in flatten(self.settings).items() if role_of(key) != "painting"}
        return {key: value for key, value in given.items() if default(key) != value}


def show(picture: Path | str, *, config: Path | str | None = None, overwrite: bool = False) -> PictureInfo:
    """What a picture of this program says of how it was made.

    Args:
        config: a YAML file to write with its settings, for `--config`; paintings are in it by name.
        overwrite: replace that file if it exists.

    Raises:
        InputError: the picture cannot be read, or does not say how it was made.
        ConfigError: `config` is given, and this version does not understand the settings.
        OutputError: `config` cannot be written.
    """
    from hires_nst.imageio.metadata.embedded import read_metadata
    from hires_nst.imageio.metadata.xmp import read_xmp
    from hires_nst.imageio.reading import picture_size

    path = Path(picture)
    width, height = picture_size(path, max_megapixels=math.inf)
    metadata = read_metadata(path)
    facts, origin = read_xmp(metadata.xmp)
    if origin is None:
        raise InputError(
            f"{path} does not say how it was made: another program wrote it, or its metadata was removed (--strip)"
        )
    settings = _settings(origin.settings)
    if config is not None:
        _write_config(Path(config), settings, picture=path, version=origin.version, overwrite=overwrite)
    return PictureInfo(
        picture=path, width=width, height=height, dpi=metadata.exif.dpi, program="hires-nst", version=origin.version,
        styles=origin.styles, settings=settings, facts=facts,
    )  # fmt: skip


def picture_metadata(content: Path, output: Path, *, config: Config, emit: OnEvent) -> Metadata | None:
    """What is written into the result: the photograph's metadata as the settings say, and how it was made.

    A notice says what is kept and left out.
    """
    from hires_nst.imageio.metadata.embedded import read_metadata
    from hires_nst.imageio.metadata.record import metadata_of_result
    from hires_nst.imageio.metadata.xmp import Origin

    if config.output.metadata == "strip":
        return None
    names = tuple(painting.image.name for painting in config.paintings)
    metadata, notice = metadata_of_result(
        read_metadata(content), origin=Origin(VERSION, names, json.dumps(portable_settings(config))),
        keep_location=config.output.keep_location, kind=str(written_format(output)),
    )  # fmt: skip
    if notice:
        emit(Notice(notice))
    return metadata


def portable_settings(config: Config) -> dict[str, Any]:
    """The settings on which a picture depends, files by name: nothing about the machine and its folders.

    Paintings that come with the program are named by their words, and those of a folder by the folder alone.
    """
    paths = [file.path for file in config.files()] + [style.path for style in config.styles]
    names = {path: Path(bundled_name(path) or path.name) for path in paths}
    styles = tuple(style.model_copy(update={"images": ()}) for style in config.styles)
    config = config.model_copy(update={"styles": styles})
    data = config.with_files(names).model_dump(mode="json", exclude_none=True)
    for key in FREE_SETTINGS:
        section, _, name = key.partition(".")
        (data[section] if name else data).pop(name or section, None)
    return data


def _settings(text: str) -> dict[str, Any]:
    """The settings in a picture, which anybody may have written; empty where they are damaged."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _write_config(path: Path, settings: Mapping[str, Any], *, picture: Path, version: str, overwrite: bool) -> None:
    check_free(path, overwrite)
    if not settings:
        raise ConfigError(f"{picture} contains no settings, or damaged ones; show it without --config")
    try:
        config = parse_config(portable_settings(parse_config(settings)))
    except ConfigError as error:
        raise ConfigError(
            f"{picture} was painted by version {version}, and this one ({VERSION}) does not understand its settings: "
            f"{error}"
        ) from None
    text = commented_yaml(config)
    atomic_write(path, lambda file: file.write(text.encode()), overwrite=overwrite)
