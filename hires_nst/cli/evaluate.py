"""`hires-nst evaluate`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hires_nst.cli.stylize import Json
from hires_nst.events import json_line
from hires_nst.quantities import number


def evaluate(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="A finished picture.")],
    *,
    content: Annotated[Path, typer.Option("--content", metavar="PHOTO", help="The photograph it was painted from.")],
    style: Annotated[
        list[Path], typer.Option("--style", metavar="PAINTING", help="The painting; repeatable, for several.")
    ],
    json: Json = False,
) -> None:
    """Measure how much of the painting and how much of the photograph is in a picture."""
    from hires_nst.evaluation import evaluate

    found = evaluate.evaluate(result, content=content, styles=style)
    if json:
        typer.echo(json_line(dataclasses.asdict(found)))
        return
    table = Table()
    table.add_column("measure")
    table.add_column("photograph", justify="right")
    table.add_column("result", justify="right")
    table.add_column("meaning")
    at = f"of the bundled network, at most {evaluate.LOSS_EDGE} px: 0 is the same"
    table.add_row("Style loss", "", number(found.style_loss), at)
    table.add_row("Content loss", number(0), number(found.content_loss), at)
    for score in found.scores:
        before = "" if score.before is None else number(score.before)
        table.add_row(score.name, before, number(score.value), score.meaning)
    Console().print(table)
