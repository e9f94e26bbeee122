"""Hooks of MkDocs: pages from the code and from the repository's own documents, formulas as MathML, no foreign hosts.

The README, the changelog and the measurements are written once, at their places in the repository; here they become
pages, and links between them are turned into links between pages.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import docs_pages
from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.extensions.toc import slugify
from markdown.inlinepatterns import InlineProcessor
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent

README_PAGES: Mapping[str, str] = {
    "": "index.md",
    "Installation": "getting-started.md",
    "Common jobs": "common-jobs.md",
    "Good to know": "common-jobs.md",
    "From Python": "python.md",
    "How it works": "index.md",
    "Development": "index.md",
    "Licence": "index.md",
}
"""The page of each section of the README."""

COPIES = ("CHANGELOG.md", "CONTRIBUTING.md", "samples/README.md", "hires_nst/backbones/data/MODEL_CARD.md")
RESULTS = "benchmarks/results"
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
HEADING = re.compile(r"^(#+) +(.+?)\s*$", re.MULTILINE)


def readme_pages(text: str) -> dict[str, str]:
    """The pages that the README's sections make, by file name.

    Raises:
        PluginError: a section that no page has.
    """
    parts: dict[str, list[str]] = {}
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE):
        title = section.partition("\n")[0].removeprefix("## ") if section.startswith("## ") else ""
        if title not in README_PAGES:
            raise PluginError(f"the README's section {title!r} has no page; give it one in {Path(__file__).name}")
        page = README_PAGES[title]
        if page != "index.md" and page not in parts:  # a section that begins a page is its title
            section = HEADING.sub(lambda found: f"{found[1][1:]} {found[2]}", section)
        parts.setdefault(page, []).append(section)
    return {page: "\n".join(sections) for page, sections in parts.items()}


def results_page() -> str:
    """The list of what was measured."""
    lines = ["# Measurements", "Each page names the machine, the date and the script that made it. All are from CPUs."]
    for file in sorted((ROOT / RESULTS).glob("*.md")):
        title = file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({file.name})")
    return "\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]) + "\n"


def generated_pages() -> dict[str, str]:
    """Every page that is not a file in docs/, by its path in the site."""
    pages = {
        "commands.md": docs_pages.commands_page(),
        "configuration.md": docs_pages.configuration_page(),
        "reference.md": docs_pages.reference_page(),
        f"{RESULTS}/index.md": results_page(),
        "LICENSE.md": f"# Licence\n\n```text\n{(ROOT / 'LICENSE').read_text(encoding='utf-8')}```\n",
    }
    pages |= readme_pages((ROOT / "README.md").read_text(encoding="utf-8"))
    pages |= {f"internals/{name}.md": text for name, text in docs_pages.internal_pages().items()}
    results = (file.relative_to(ROOT).as_posix() for file in sorted((ROOT / RESULTS).glob("*.md")))
    for name in (*COPIES, *results):
        pages[name] = (ROOT / name).read_text(encoding="utf-8")
    return pages


def anchors(text: str) -> Iterator[str]:
    """The anchors of a Markdown text's headings."""
    for _, title in HEADING.findall(re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)):
        yield slugify(title.replace("`", ""), "-")


class SiteLinks:
    """Links between files of the repository as links between pages."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        readme = set(README_PAGES.values())
        self.sources = {page: "README.md" if page in readme else page for page in pages}
        self.anchors = {anchor: page for page in sorted(readme) for anchor in anchors(pages[page])}

    def rewrite(self, text: str, page: str) -> str:
        """The text of a page with its links turned; those to hosts stay."""
        source = self.sources.get(page, f"docs/{page}")

        def link(found: re.Match[str]) -> str:
            target, hash_sign, anchor = found[1].partition("#")
            if "://" in found[1] or found[1].startswith("mailto:"):
                return found[1]
            file = posixpath.normpath(posixpath.join(posixpath.dirname(source), target)) if target else source
            if file == "README.md":
                file = self.anchors.get(anchor, "index.md")
            elif target.endswith("/"):
                file += "/index.md"
            file = "LICENSE.md" if file == "LICENSE" else file.removeprefix("docs/")
            return posixpath.relpath(file, posixpath.dirname(page) or ".") + hash_sign + anchor

        return LINK.sub(link, text)


class Formula(InlineProcessor):
    """`$...$` and `$$...$$`, which GitHub shows as formulas, as MathML, which browsers show without a script."""

    def __init__(self, markdown: Markdown) -> None:
        super().__init__(r"(?<![\\$\w])(\$\$?)(?=\S|\n)(.+?)(?<=\S)\s*\1(?![\w$])", markdown)
        self.compiled_re = re.compile(self.pattern, re.DOTALL)

    def handleMatch(  # type: ignore[override]  # noqa: N802 - the name that Python-Markdown calls
        self, m: re.Match[str], data: str
    ) -> tuple[Element | str, int, int]:
        """The formula, kept from further processing."""
        display = "block" if m[1] == "$$" else "inline"
        formula = re.sub(
            r"<mo>(&#x02016;|&#x0007C;)", r'<mo stretchy="false">\1', convert(m[2].strip(), display=display)
        )
        return self.md.htmlStash.store(formula), m.start(), m.end()


class Formulas(Extension):
    """Adds `Formula` behind code spans, which win, and before escapes."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Register the pattern."""
        md.inlinePatterns.register(Formula(md), "formula", 185)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take formulas, and give the internal packages their places in the navigation."""
    config.markdown_extensions.append(Formulas())  # type: ignore[arg-type]
    packages: list[Any] = [{name: f"internals/{name}.md"} for name in docs_pages.internal_pages()]
    assert config.nav is not None
    config.nav = [*config.nav, {"Internal packages": packages}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages and the pictures that the documents show."""
    pages = generated_pages()
    config.extra["links"] = SiteLinks(pages)
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    pictures = (file.relative_to(ROOT).as_posix() for file in sorted((ROOT / RESULTS).glob("*.jpg")))
    for name in ("samples/demo.jpg", *pictures):
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Turn links between the repository's files into links between pages."""
    links: SiteLinks = config.extra["links"]
    return links.rewrite(markdown, page.file.src_uri)


class Assets(HTMLParser):
    """Collects what a page loads by itself: scripts, style sheets, fonts and pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the browser fetches for this tag."""
        values = {name: value or "" for name, value in attrs}
        if tag in ("script", "img", "iframe", "source"):
            self.urls.append(values.get("src", ""))
        if tag == "link" and values.get("rel") != "canonical":
            self.urls.append(values.get("href", ""))


def on_post_build(config: MkDocsConfig) -> None:
    """Fail where a page would load anything from another host.

    Raises:
        PluginError: it would.
    """
    for file in sorted(Path(config.site_dir).rglob("*.html")):
        page = Assets()
        page.feed(file.read_text(encoding="utf-8"))
        foreign = [url for url in page.urls if re.match(r"(https?:)?//", url)]
        if foreign:
            raise PluginError(f"{file} loads {', '.join(foreign)}; the documentation must work offline")
