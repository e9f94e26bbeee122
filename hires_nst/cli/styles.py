"""`hires-nst styles`: the paintings that can be named by words."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import hires_nst
from hires_nst.cli.options import Json, path_option
from hires_nst.config import gather, parse_config
from hires_nst.events import json_line
from hires_nst.quantities import printable

app = typer.Typer(no_args_is_help=True, help="List the paintings of the gallery, which can be named by words.")


@app.command("list")
def list_styles(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORDS", help="Only paintings with all of these words, such as van gogh."),
    ] = None,
    *,
    config: Annotated[
        Path | None,
        path_option("--config", "-c", metavar="FILE", help="YAML configuration whose gallery: has paintings, too."),
    ] = None,
    json: Json = False,
) -> None:
    """List the paintings of the gallery: the words that name each, painter, title, year, source and licence.

    Any words that only one of them has name it: `hires-nst stylize photo.jpg "starry gogh"`.
    """
    folders = parse_config({"gallery": gather(config).get("gallery", ())}).gallery_folders
    found = hires_nst.styles.list(" ".join(words or ()), gallery=folders)
    if json:
        for painting in found:
            data = painting.facts.model_dump(mode="json")
            typer.echo(json_line({"name": painting.name, "file": str(painting.file), **data}))
        return
    table = Table()
    for heading in ("name", "painter", "title", "year", "licence"):
        table.add_column(heading, overflow="fold")
    sources: dict[str, list[str]] = {}
    for painting in found:
        facts = painting.facts
        row = painting.name, facts.painter, facts.title, str(facts.year), facts.licence
        table.add_row(*map(printable, row))
        if facts.source:
            sources.setdefault(facts.source, []).append(painting.name)
    console = Console()
    console.print(table)
    for source, names in sources.items():  # which many have in common
        which = "all" if len(names) == len(found) else ", ".join(names)
        console.print(printable(f"source of {which}: {source}"), markup=False, highlight=False)
