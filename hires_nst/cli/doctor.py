"""`hires-nst doctor`."""

import typer

import hires_nst


def doctor() -> None:
    """Show versions, devices, memory, weights and disk space, and problems that would stop a run."""
    diagnosis = hires_nst.doctor()
    for finding in diagnosis.findings:
        typer.echo(f"{finding.subject:10}{finding.text}")
    for problem in diagnosis.problems:
        typer.echo(f"problem   {problem}")
    if diagnosis.problems:
        raise typer.Exit(1)
    typer.echo("no problems found")
