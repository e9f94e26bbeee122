"""`hires-nst evaluate`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import hires_nst
from hires_nst.cli.options import Json, path_argument, path_option
from hires_nst.events import json_line
from hires_nst.quantities import number


def evaluate(
    result: Annotated[Path, path_argument(metavar="RESULT", help="A finished picture.")],
    *,
    content: Annotated[Path, path_option("--content", metavar="PHOTO", help="The photograph it was painted from.")],
    style: Annotated[
        list[Path],
        path_option(
            "--style",
            metavar="PAINTING",
            help="The painting, by file or by words of the gallery; repeatable, for several.",
        ),
    ],
    json: Json = False,
) -> None:
    """Measure how close a picture is to the painting and to the photograph."""
    evaluation = hires_nst.evaluate(result, content=content, styles=style)
    if json:
        typer.echo(json_line(asdict(evaluation)))
        return

    from hires_nst.evaluation.evaluate import LOSS_EDGE

    table = Table()
    for heading in ("measure", "photograph", "result", "meaning"):
        table.add_column(heading, justify="right" if heading in ("photograph", "result") else "left")
    meaning = f"of the bundled network, at most {LOSS_EDGE} px: 0 is the same"
    table.add_row("Style loss", "", number(evaluation.style_loss), meaning)
    table.add_row("Content loss", number(0), number(evaluation.content_loss), meaning)
    for score in evaluation.scores:
        before = "" if score.before is None else number(score.before)
        table.add_row(score.name, before, number(score.value), score.meaning)
    Console().print(table)
