"""`hires-nst models`: the networks and their weights."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

import hires_nst
from hires_nst.backbones.registry import BACKBONES, find_backbone
from hires_nst.cli.options import Quiet, path_argument
from hires_nst.cli.progress import print_line, showing
from hires_nst.cli.schema_options import choice
from hires_nst.errors import WeightsError
from hires_nst.events import Event

app = typer.Typer(no_args_is_help=True, help="List, download and verify networks.")


def _checked(name: str | None) -> str | None:
    """The name of a network, checked before torch is loaded."""
    return None if name is None else find_backbone(name).name


@app.command("list")
def list_models() -> None:
    """List the networks with their licences, sources and costs, and whether their weights are there."""
    table = Table()
    for heading in ("name", "what it is", "licence", "parameters", "work", "weights", "pictures"):
        table.add_column(heading, overflow="fold")
    for model in hires_nst.models.list():
        work = 100 * model.multiply_adds / BACKBONES["vgg19"].multiply_adds()
        got = {"bundled": "bundled", "file": "imported"}.get(model.provider, "downloaded")
        state = got if model.present else f"not {got}"
        table.add_row(
            model.name, f"{model.description} ({model.source})", model.licence, f"{model.parameters / 1e6:.1f} M",
            f"{work:.0f} %", state, "looked at" if model.looked_at else "not looked at",
        )  # fmt: skip
    console = Console()
    console.print(table)
    for line in (
        "work: multiply-adds per pixel, relative to all of VGG-19",
        "pictures not looked at: tested with random weights only, since the published ones could not be had",
    ):
        console.print(line, markup=False, highlight=False)


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(BACKBONES)}.", callback=_checked)],
    quiet: Quiet = False,
) -> None:
    """Download a network's weights into torch's cache, and check them."""
    outcome = "is already available"
    with showing(quiet=quiet, as_json=False) as on_event:

        def downloading(event: Event) -> None:
            nonlocal outcome
            outcome = "has been downloaded"
            on_event(event)

        model = hires_nst.models.fetch(name, on_event=downloading)
    if not quiet:
        print_line(f"{name} {outcome}: {model.file}")


@app.command("import")
def import_model(
    file: Annotated[Path, path_argument(metavar="FILE", help="A weight file that you downloaded yourself.")],
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The network; recognised from the file when not given.",
            parser=choice("--name", list(BACKBONES)),
        ),
    ] = None,
) -> None:
    """Copy a downloaded weight file into torch's cache, after checking that it is the published one."""
    model = hires_nst.models.import_file(file, name=name)
    print_line(f"{model.name} has been imported: {model.file}")


@app.command("verify")
def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="A network; all of them when not given.", callback=_checked)
    ] = None,
) -> None:
    """Compare weight files with their published SHA-256. Missing files are listed; a damaged one is an error."""
    checks = hires_nst.models.verify(name)
    for check in checks:
        print_line(f"{check.state:8}{check.message}")
    if damaged := [check.name for check in checks if check.state == "damaged"]:
        raise WeightsError(f"the weights of {' and '.join(damaged)} are damaged; see above")
