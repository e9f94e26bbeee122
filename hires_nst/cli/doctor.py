"""`hires-nst doctor`: what is here, and what would stop a run."""

import typer

from hires_nst.run.diagnosis import doctor as diagnose


def doctor() -> None:
    """Show versions, devices, memory, weights and disk space, and what would stop a run here."""
    found = diagnose()
    lines = [(finding.subject, finding.text) for finding in found.findings]
    for subject, text in [*lines, *(("problem", text) for text in found.problems)]:
        typer.echo(f"{subject:10}{text}")
    if found.problems:
        raise typer.Exit(1)
    typer.echo("nothing would stop a run here")
