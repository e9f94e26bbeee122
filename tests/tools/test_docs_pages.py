"""The generated pages of the documentation: every command, option, key and public name is in them."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import docs_griffe
import docs_hooks
import docs_pages
import markdown
import pytest
import typer.main
from mkdocs.exceptions import PluginError

import hires_nst
from hires_nst import cli, events
from hires_nst.config import Config
from hires_nst.errors import HiresNstError


def test_every_command_and_option_is_in_the_commands() -> None:
    sections = {s.partition("`")[0]: s for s in docs_pages.commands_page().split("\n## `")[1:]}
    found = dict(docs_pages.leaf_commands(typer.main.get_command(cli.app)))
    assert sections.keys() == found.keys()
    for name, command in found.items():
        for option in command.params:
            names = option.opts if option.param_type_name == "option" else [option.metavar or option.name.upper()]
            assert all(word in sections[name] for word in names), f"{name} lacks {names}"
    assert "\n| Size and file | |\n" in sections["hires-nst stylize"], "options stand in their panels"


def keys_of(model: Any, prefix: str = "") -> list[str]:
    """Every key that the schema has outside of lists."""
    keys: list[str] = []
    for name, field in model.model_fields.items():
        inner = field.annotation
        if hasattr(inner, "model_fields"):
            keys += keys_of(inner, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def test_every_key_is_in_the_configuration() -> None:
    page = docs_pages.configuration_page()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for key in keys_of(Config):
        if key not in ("styles", "jobs"):
            assert f"| `{key}` |" in page
    assert all(row.replace("\\|", "").count("|") == 5 for row in rows), "each row has four cells"
    assert "| `output.print.paper` | string | `A3` |" in page
    assert "| `styles[].image` | path | `null` |" in page
    assert "| `output.bit_depth` | `8` or `16` | `8` |" in page


def test_every_public_name_is_in_the_reference() -> None:
    page = docs_pages.reference_page()
    names = [f"hires_nst.{name}" for name in hires_nst.__all__ if not name.startswith("__")]
    names = [name for name in names if not inspect.ismodule(getattr(hires_nst, name.rpartition(".")[2]))]
    names += [f"hires_nst.events.{kind.__name__}" for kind in events.Event.__subclasses__() if "batch" not in str(kind)]
    names += [f"hires_nst.errors.{kind.__name__}" for kind in HiresNstError.__subclasses__()]
    for name in names:
        assert f"\n::: {name}\n" in page
    assert "Stop\n" in page


def test_every_package_has_a_page_of_its_modules() -> None:
    package = Path(hires_nst.__file__).parent
    pages = docs_pages.internal_pages()
    folders = {file.parent.name for file in package.glob("*/__init__.py")}
    assert pages.keys() == {"hires_nst", *folders}
    for folder in folders:
        for file in (package / folder).glob("[!_]*.py"):
            name = f"hires_nst.{folder}.{file.stem}"
            assert f"\n::: {name}\n" in pages[folder] or f"::: {name}." in docs_pages.reference_page()


def test_links_between_files_become_links_between_pages() -> None:
    readme = "# A\n[b](docs/algorithm.md) [c](LICENSE) [d](#common-jobs)\n\n## Common jobs\n[e](benchmarks/results/)\n"
    pages = docs_hooks.readme_pages(readme) | dict.fromkeys(set(docs_hooks.README_PAGES.values()), "")
    pages |= docs_hooks.readme_pages(readme)
    links = docs_hooks.SiteLinks(pages)
    assert links.rewrite(pages["index.md"], "index.md").splitlines()[1] == (
        "[b](algorithm.md) [c](LICENSE.md) [d](common-jobs.md#common-jobs)"
    )
    assert links.rewrite("[e](benchmarks/results/)", "common-jobs.md") == "[e](benchmarks/results/index.md)"
    assert links.rewrite("[f](../benchmarks/results/speed.md)", "algorithm.md") == "[f](benchmarks/results/speed.md)"
    assert links.rewrite("[g](https://example.org/a)", "algorithm.md") == "[g](https://example.org/a)"


def test_a_section_of_the_readme_without_a_page_is_an_error() -> None:
    with pytest.raises(PluginError, match="'Surprise' has no page"):
        docs_hooks.readme_pages("# A\n\n## Surprise\n")


def test_formulas_become_mathml_and_code_stays() -> None:
    text = "Let $R = P / n$ and `$x$` cost $5 or $6.\n\n$$\nx_1^2\n$$\n"
    html = markdown.markdown(text, extensions=[docs_hooks.Formulas()])
    assert html.count("<math") == 2
    assert 'display="block"' in html
    assert "<code>$x$</code> cost $5 or $6." in html


def test_assets_of_other_hosts_fail_the_build(tmp_path: Path) -> None:
    class Site:
        site_dir = str(tmp_path)

    page = tmp_path / "index.html"
    page.write_text('<a href="https://example.org">a link</a><script src="assets/a.js"></script>')
    docs_hooks.on_post_build(Site())  # type: ignore[arg-type]
    page.write_text('<link rel="stylesheet" href="//fonts.example.org/a.css">')
    with pytest.raises(PluginError, match="must work offline"):
        docs_hooks.on_post_build(Site())  # type: ignore[arg-type]


def test_shared_entries_of_a_docstring_are_taken_apart() -> None:
    text = "A size.\n\nAttributes:\n    width, height: pixels,\n        without the border.\n    other: no.\n"
    assert docs_griffe.apart(text) == (
        "A size.\n\nAttributes:\n    width: pixels,\n        without the border.\n"
        "    height: pixels,\n        without the border.\n    other: no.\n"
    )
