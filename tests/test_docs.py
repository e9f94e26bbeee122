"""What the documentation says is so: its commands parse, its example runs, its files are there."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import typer.main
from PIL import Image

from hires_nst import cli
from hires_nst.cli.first_word import with_command
from hires_nst.cli.options import ConfigOptions
from hires_nst.config import PRESETS, StyleLossName, commented_yaml
from hires_nst.errors import HiresNstError

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = (
    "README.md", "samples/README.md",
    *(f"docs/{name}.md" for name in ("algorithm", "architecture", "pictures", "quality")),
)  # fmt: skip
DOCUMENTS = (*GUIDES, "CHANGELOG.md", "CONTRIBUTING.md")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PROGRAM: Any = typer.main.get_command(cli.app)

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"`([^`]+)`")


def command_lines(text: str) -> Iterator[str]:
    """Every `hires-nst ...` in the fenced blocks of a Markdown text, and in its code spans."""
    for _, language, block in FENCE.findall(text):
        if language in ("sh", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.removeprefix("$ ").startswith("hires-nst "):
                    yield line.removeprefix("$ ")
    for span in CODE_SPAN.findall(FENCE.sub("", text)):
        if span.startswith("hires-nst "):
            yield " ".join(span.split())


def preset_lines() -> Iterator[str]:
    """Every `hires-nst ...` in the comments of the presets."""
    for file in sorted((ROOT / "configs").glob("*.yaml")):
        comments = re.findall(r"^# ?(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        yield from (line.strip() for line in comments if line.startswith("  hires-nst "))
        yield from command_lines("\n".join(comments))


def leaf_commands(command: Any = PROGRAM, words: tuple[str, ...] = ("hires-nst",)) -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    if not hasattr(command, "commands"):
        yield " ".join(words), command
        return
    for name, inner in command.commands.items():
        yield from leaf_commands(inner, (*words, name))


def option_names(command: Any) -> set[str]:
    """`--output`, `-o` and so on."""
    with command.make_context("hires-nst", [], resilient_parsing=True) as context:
        options = [p for p in command.get_params(context) if p.param_type_name == "option"]
    return {name for option in options for name in (*option.opts, *option.secondary_opts)}


def check(line: str) -> None:
    """Fail unless the program would take this command line, or the beginning of one.

    Raises:
        AssertionError: it would not.
    """
    words = shlex.split(line, comments=True)[1:]
    words = with_command(words, commands=PROGRAM.commands, options=option_names(PROGRAM))
    command = PROGRAM
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]!r}: {line}"
        command = command.commands[words.pop(0)]
    given = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
    assert given <= option_names(command), f"no such option: {given - option_names(command)} in {line}"
    if hasattr(command, "commands") or not words or given & {"--help", "-h"}:
        return  # a mention of the command, not a call
    try:
        with command.make_context("hires-nst", words) as context:
            arguments = context.params
        if "assignments" in arguments:
            options = ConfigOptions.of(arguments)
            if options.config is not None:
                options.config.write_text(commented_yaml())
            options.effective([*(arguments.get("styles") or ()), *(arguments.get("painting") or ())])
    except Exception as error:
        raise AssertionError(f"{error}: {line}") from error


def guide_lines() -> Iterator[str]:
    """Every `hires-nst ...` in the documents that say how to use the program as it is."""
    for name in GUIDES:
        yield from command_lines((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("line", dict.fromkeys([*guide_lines(), *preset_lines()]))
def test_a_command_line_in_the_documentation_is_valid(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    check(line)


@pytest.mark.parametrize(
    "line",
    [
        "hires-nst paint a.jpg",
        "hires-nst plan a.jpg b.jpg --sise 3",
        "hires-nst plan a.jpg b.jpg --size big",
        "hires-nst batch a.jpg b.jpg",
        "hires-nst stylize a.jpg b.jpg -o c.png --preset none",
        "hires-nst stylize a.jpg b.jpg -o c.png --print A33",
        "hires-nst stylize a.jpg b.jpg -o c.png --set level.rounds=3",
        "hires-nst config init --output x",
    ],
)
def test_the_check_itself_finds_what_is_wrong(line: str) -> None:
    with pytest.raises(AssertionError):
        check(line)


def test_options_in_the_readme_exist() -> None:
    known = {name for _, command in leaf_commands() for name in option_names(command)}
    of_stylize = option_names(PROGRAM.commands["stylize"])
    mentioned = [span for span in CODE_SPAN.findall(FENCE.sub("", README)) if span.startswith("-")]
    assert mentioned
    for span in mentioned:
        option, *values = span.split()
        assert option in known
        if values and option in of_stylize:
            paper = "--print A4" if option in ("--fit", "--bleed") else ""
            check(f"hires-nst stylize photo.jpg painting.jpg -o result.png {paper} {span}")


@pytest.mark.parametrize("name", [name for name, _ in leaf_commands()])
def test_every_command_is_in_the_readme(name: str) -> None:
    assert name in README or re.search(rf"`{name.removeprefix('hires-nst ')}`", README)


def test_every_preset_is_in_the_readme_and_says_how_to_run_it() -> None:
    for name in PRESETS:
        assert f"| `{name}` |" in README
        comment = (ROOT / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
        assert comment.startswith("# ")
        assert f"--preset {name}" in comment


def test_every_exit_code_is_in_the_readme() -> None:
    codes = {error.exit_code for error in HiresNstError.__subclasses__()}
    for code in {0, HiresNstError.exit_code, cli.INTERRUPTED, *codes}:
        assert f"| {code} |" in README


def test_make_targets_in_the_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(
        re.findall(r"\bmake ([a-z]+)\b", "\n".join(block for *_, block in FENCE.findall(README + CONTRIBUTING)))
    )
    assert {"demo", "test"} <= targets
    assert targets <= set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))


def test_what_contributing_says_is_in_a_file_is_there() -> None:
    found = re.findall(r"`(\w+)` in\s+`([\w/]+\.py)`", FENCE.sub("", CONTRIBUTING))
    assert len(found) > 8
    missing = [(name, file) for name, file in found if name not in (ROOT / file).read_text(encoding="utf-8")]
    assert not missing


def test_every_style_loss_is_in_the_algorithm() -> None:
    table = (ROOT / "docs" / "algorithm.md").read_text(encoding="utf-8")
    for name in get_args(StyleLossName):
        assert f"\n| `{name}`" in table


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = re.findall(r"<!-- test: api -->\n```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    rng = np.random.default_rng(0)
    for name, (width, height) in {"photo.jpg": (192, 128), "painting.jpg": (160, 160)}.items():
        pixels = rng.integers(0, 256, (height // 8, width // 8, 3), np.uint8)
        Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    exec(compile(found[0], "README.md", "exec"), {"__name__": "__main__"})
    with Image.open("result.png") as result:
        assert result.size == (256, 171)


def test_files_that_the_documents_refer_to_exist() -> None:
    for name in DOCUMENTS:
        document = ROOT / name
        text = document.read_text(encoding="utf-8")
        links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
        spans = [s for s in CODE_SPAN.findall(FENCE.sub("", text)) if re.fullmatch(r"[\w./-]+/[\w.-]*", s)]
        made = ("build/", ".venv/")
        places = (document.parent, ROOT, ROOT / "hires_nst")
        missing = [link for link in links if not (document.parent / link).exists()]
        missing += [s for s in spans if not s.startswith(made) and not any((f / s).exists() for f in places)]
        assert not missing, f"{name} refers to {missing}"


def text_files() -> Iterator[Path]:
    """The project's own text files."""
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder)
        folders[:] = sorted(
            name for name in folders
            if (not name.startswith(".") or name == ".ci")
            and name not in ("build", "dist", "__pycache__")
            and not name.endswith(".egg-info")
            and not (here / name / "pyvenv.cfg").exists()
        )  # fmt: skip
        for name in sorted(set(files) - {".git"}):  # a file in a worktree
            file = here / name
            if file.suffix.lower() not in (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".safetensors", ".pth", ".pyc"):
                yield file


def test_no_file_has_a_path_of_somebodys_machine() -> None:
    places = "|".join(("work", "root", "home", "Users", "opt"))  # not spelled out, so that this file passes
    pattern = re.compile(rf"(?<![\w.~])/({places})/")
    found = []
    for file in text_files():
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
            if pattern.search(line):
                found.append(f"{file.relative_to(ROOT)}:{number}: {line.strip()}")
    assert not found
