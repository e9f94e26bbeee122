"""The command line, the only package that prints. No command imports torch before it needs it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from hires_nst.cli import batch, config, doctor, evaluate, models, plan, report, resume, show, status, styles, stylize
from hires_nst.cli.first_word import with_command
from hires_nst.cli.progress import print_error
from hires_nst.cli.words import refuse_other_words
from hires_nst.errors import HiresNstError, ResourceError, out_of_memory
from hires_nst.events import json_line
from hires_nst.files import is_disk_full
from hires_nst.version import VERSION

INTERRUPTED = 130

UsageError: Any = typer.BadParameter.__base__
"""Click's, or that of the copy of Click in newer versions of Typer."""


class Commands(TyperGroup):
    """A group whose commands end with one line and an exit code when the program raises one of its errors."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the program's own options."""
        try:
            refuse_other_words(args, self)
        except HiresNstError as error:
            _report(str(error), error.exit_code, as_json="--json" in args)
            raise typer.Exit(error.exit_code) from None
        with _usage_as_json(args):
            return super().make_context(info_name, args, parent, **extra)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words, in front of which `stylize` may be missing."""
        own = {name for parameter in self.get_params(ctx) for name in (*parameter.opts, *parameter.secondary_opts)}
        words = with_command(args, commands=self.commands.keys(), options=own)
        parsed: list[str] = super().parse_args(ctx, words)
        return parsed

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error of the program becomes a sentence and an exit code."""
        try:
            with _usage_as_json(ctx.args):  # the words after the command's name
                return super().invoke(ctx)
        except (HiresNstError, OSError, MemoryError, KeyboardInterrupt) as error:
            if _debug() or (isinstance(error, OSError) and error.errno == errno.EPIPE):
                raise
            message, code = _message(error)
            _report(message, code, as_json=bool(ctx.meta.get("json")))
            raise typer.Exit(code) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Paint a photograph in the style of a painting, at any size up to a print.",
    epilog="A first picture: hires-nst photo.jpg painting.jpg",
)
app.command("stylize")(stylize.stylize)
app.command("plan")(plan.plan)
app.command("batch")(batch.batch)
app.command("resume")(resume.resume)
app.command("status")(status.status)
app.add_typer(config.app, name="config")
app.add_typer(models.app, name="models")
app.add_typer(styles.app, name="styles")
app.command("report")(report.report)
app.command("evaluate")(evaluate.evaluate)
app.command("show")(show.show)
app.command("doctor")(doctor.doctor)


def main() -> None:
    """The program `hires-nst`."""
    if isinstance(sys.stdout, TextIOWrapper) and sys.stdout.errors == "strict":  # as stderr always is
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="hires-nst")
    except KeyboardInterrupt as error:
        message, code = _message(error)
        _report(message, code, as_json=False)
        sys.exit(code)
    except Exception as error:
        if _debug():
            raise
        _report(
            f"internal error: {type(error).__name__} ({error}); please report it "
            "(HIRES_NST_DEBUG=1 shows the traceback)",
            HiresNstError.exit_code,
            as_json="--json" in sys.argv,
        )
        sys.exit(HiresNstError.exit_code)


@contextmanager
def _usage_as_json(arguments: Sequence[str]) -> Iterator[None]:
    """With `--json` among the arguments, print a usage error on stdout too; Typer prints it on stderr."""
    arguments = tuple(arguments)  # the parser consumes the list
    try:
        yield
    except UsageError as error:
        if "--json" in arguments:
            _print_json(error.format_message(), error.exit_code)
        raise


def _report(message: str, code: int, *, as_json: bool) -> None:
    """Print an error on stderr, and with `--json` on stdout too."""
    print_error(f"error: {message}")
    if as_json:
        _print_json(message, code)


def _print_json(message: str, code: int) -> None:
    typer.echo(json_line({"event": "Error", "message": message, "exit_code": code}))


def _message(error: BaseException) -> tuple[str, int]:
    """The message and the exit code of an error."""
    if isinstance(error, HiresNstError):
        return str(error), error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", INTERRUPTED
    if isinstance(error, MemoryError):
        return str(out_of_memory()), ResourceError.exit_code
    assert isinstance(error, OSError)
    place = f" ({error.filename})" if error.filename else ""
    if is_disk_full(error):
        return f"no space left on the disk{place}; free some or choose another folder", ResourceError.exit_code
    return f"{error.strerror or error}{place}", HiresNstError.exit_code


def _debug() -> bool:
    return os.environ.get("HIRES_NST_DEBUG", "") not in ("", "0")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hires-nst {VERSION}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
