"""`hires-nst doctor`: versions, devices, memory, weights and disk space, and problems."""

import typer

from hires_nst.run.diagnosis import doctor as diagnose


def doctor() -> None:
    """Show versions, devices, memory, weights and disk space, and problems that would stop a run."""
    found = diagnose()
    lines = [(finding.subject, finding.text) for finding in found.findings]
    for subject, text in [*lines, *(("problem", text) for text in found.problems)]:
        typer.echo(f"{subject:10}{text}")
    if found.problems:
        raise typer.Exit(1)
    typer.echo("no problems found")
