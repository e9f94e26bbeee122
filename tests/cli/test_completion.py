"""Completion by the shell, as `hires-nst --install-completion` sets it up."""

from __future__ import annotations

import json

import pytest

from tests.cli.test_commands import program

CODE = """
import json, sys
from hires_nst.cli import main
try:
    main()
finally:
    print(json.dumps(sorted({"torch", "numpy", "PIL"} & sys.modules.keys())), file=sys.stderr)
"""

SHELLS = {
    "bash": {"COMP_WORDS": "hires-nst stylize --content-w", "COMP_CWORD": "2"},
    "zsh": {"_TYPER_COMPLETE_ARGS": "hires-nst stylize --content-w"},
    "fish": {"_TYPER_COMPLETE_ARGS": "hires-nst stylize --content-w", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
}


@pytest.mark.parametrize("shell", SHELLS)
def test_options_are_completed_without_the_engine(shell: str) -> None:
    done = program(code=CODE, _HIRES_NST_COMPLETE=f"complete_{shell}", **SHELLS[shell])
    assert "--content-weight" in done.stdout
    assert "--coupling" not in done.stdout
    assert json.loads(done.stderr.splitlines()[-1]) == [], "completion answers at once"


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_for_the_shell_calls_the_program(shell: str) -> None:
    done = program("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert done.returncode == 0
    assert f"_HIRES_NST_COMPLETE=complete_{shell}" in done.stdout
