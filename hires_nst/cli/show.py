"""`hires-nst show`."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import hires_nst
from hires_nst.cli.options import Json
from hires_nst.events import json_line

if TYPE_CHECKING:
    from hires_nst import PictureInfo


def show(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A picture that this program painted.")],
    *,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="YAML file to write with the settings, for --config."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE if it exists.")] = False,
    json: Json = False,
) -> None:
    """Show how a picture was made: program, paintings, settings, and what is kept of the photograph's metadata."""
    info = hires_nst.show(picture, config=config, overwrite=overwrite)
    if json:
        typer.echo(json_line(asdict(info)))
        return
    for name, value in _lines(info):
        typer.echo(f"{name:<12}{_on_one_line(value)}")
    if config is not None:
        typer.echo(f"wrote {config}; use it with --config {config}")


def _lines(info: "PictureInfo") -> Iterator[tuple[str, Any]]:
    size = f"{info.width} x {info.height} px"
    yield "picture", f"{info.picture}, {size}" + ("" if info.dpi is None else f", {info.dpi:g} dpi")
    yield "program", f"{info.program} {info.version}"
    for style in info.styles:
        yield "painting", style
    for key, value in info.changed.items():
        yield "setting", f"{key}: {value}"
    if not info.settings:
        yield "setting", "none can be read"
    yield from info.facts.items()


def _on_one_line(value: object) -> str:
    """Text from a file that anybody may have written, without line breaks and control characters."""
    return "".join(c if c.isprintable() else " " for c in str(value))
