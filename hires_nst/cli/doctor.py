"""`hires-nst doctor`."""

import typer

import hires_nst
from hires_nst.cli.progress import print_line


def doctor() -> None:
    """Show versions, devices, memory, weights and disk space, and problems that would stop a run."""
    diagnosis = hires_nst.doctor()
    for finding in diagnosis.findings:
        print_line(f"{finding.subject:10}{finding.text}")
    for problem in diagnosis.problems:
        print_line(f"problem   {problem}")
    if diagnosis.problems:
        raise typer.Exit(1)
    typer.echo("no problems found")
