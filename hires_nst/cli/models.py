"""`hires-nst models`: the networks and their weights."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hires_nst.backbones.registry import BACKBONES, Backbone
from hires_nst.cli.progress import showing
from hires_nst.errors import ConfigError, WeightsError, nearest

app = typer.Typer(no_args_is_help=True, help="The networks and their weights.")

Name = Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(BACKBONES)}.")]


@app.command("list")
def list_models() -> None:
    """List the networks: what they are, what they cost, and whether their weights are here."""
    from hires_nst.backbones.weights import own_file

    table = Table()
    for heading in ("name", "what it is", "licence", "parameters", "work", "weights"):
        table.add_column(heading, overflow="fold")
    for backbone in BACKBONES.values():
        work = 100 * backbone.multiply_adds() / BACKBONES["vgg19"].multiply_adds()
        here = "here" if own_file(backbone).is_file() else "not here"
        state = "bundled" if backbone.weights.provider == "bundled" and here == "here" else here
        table.add_row(
            backbone.name,
            backbone.description,
            backbone.licence,
            f"{parameters(backbone) / 1e6:.1f} M",
            f"{work:.0f} %",
            state,
        )
    console = Console()
    console.print(table)
    console.print("work: multiply-adds of a pixel, relative to all of VGG-19", markup=False, highlight=False)


@app.command("fetch")
def fetch(
    name: Name,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """Download a network's weights into torch's cache, and check them."""
    backbone = find(name)
    from hires_nst.backbones import weights

    if weights.verify(backbone)[0] == "ok":
        if not quiet:
            typer.echo(f"{name} is here already: {weights.own_file(backbone)}")
        return
    with showing(quiet=quiet, as_json=False) as on_event:
        file = weights.fetch(backbone, on_event)
    if not quiet:
        typer.echo(f"{name} is here now: {file}")


@app.command("import")
def import_model(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A weight file that was downloaded in another way.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The network; recognised from the file when not given.")
    ] = None,
) -> None:
    """Copy a downloaded weight file into torch's cache, after checking that it is the published one."""
    named = None if name is None else find(name)
    from hires_nst.backbones import weights

    backbone = named or weights.identify(file)
    typer.echo(f"{backbone.name} is here now: {weights.import_file(backbone, file)}")


@app.command("verify")
def verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A network; all of them when not given.")] = None,
) -> None:
    """Compare weight files with their published SHA-256. Missing ones are told; a damaged one is an error."""
    chosen = list(BACKBONES.values()) if name is None else [find(name)]
    from hires_nst.backbones import weights

    damaged: list[str] = []
    for backbone in chosen:
        state, sentence = weights.verify(backbone)
        typer.echo(f"{state:8}{sentence}")
        damaged += [backbone.name] if state == "damaged" else []
    if damaged:
        raise WeightsError(f"the weights of {' and '.join(damaged)} are damaged; see above what to do")


def find(name: str) -> Backbone:
    """The network of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in BACKBONES:
        raise ConfigError(f"there is no network {name!r}{nearest(name, BACKBONES)}")
    return BACKBONES[name]


def parameters(backbone: Backbone) -> int:
    """The number of weights of a network's convolutions."""
    return sum((9 * conv.in_channels + 1) * conv.out_channels for conv in backbone.convolutions)
