"""The page: `report.html`, complete in itself but for the pictures beside it."""

from __future__ import annotations

import base64
import hashlib
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hires_nst.config import flatten
from hires_nst.errors import OutputError
from hires_nst.quantities import duration, number
from hires_nst.report.charts import Chart, chart
from hires_nst.report.model import Report, ReportedJob
from hires_nst.report.pictures import FOLDER, JobPictures, address, make_pictures, save
from hires_nst.run.directory import command

PAGE = "report.html"
GENERATOR = b'<meta name="generator" content="hires-nst '
PENDING = b'<meta name="pictures" content="to be made">'
NO_BREAK = "\u00a0"
NARROWEST, WIDEST = 0.75, 1.6
"""Proportions of a card's mat, whatever the pictures'."""

Progress = Callable[[int, int], None]
"""Called with how many of how many jobs have their pictures."""

Due = Callable[[float], bool]
"""Whether to stop before a piece of work that takes so many seconds."""


@dataclass(frozen=True)
class Card:
    """A picture on the page; `facts` stand below its name, and `own_settings` are those that not all jobs share."""

    job: ReportedJob
    pictures: JobPictures
    chart: Chart | None
    facts: tuple[str, ...]
    own_settings: tuple[tuple[str, str], ...]
    output_address: str | None


@dataclass(frozen=True)
class Retry:
    """Failures that one command tries again; None where nothing does."""

    command: str | None
    jobs: tuple[ReportedJob, ...]


def write_report(
    report: Report, folder: Path, *, on_progress: Progress | None = None, due: Due = lambda seconds: False
) -> Path:
    """Write `folder`/report.html, with the pictures that it shows in `folder`/report-files; the page's path.

    The page takes the place of an earlier one when it is complete. Pictures are made only when they are missing or
    older than what they show; one that cannot be read is left out. Once it is `due` to stop, no more are made:
    the page shows those that are ready, and is not complete.

    Raises:
        OutputError: the folder cannot be written to, or its report.html is not one of this program's.
        ResourceError: the disk is full.
    """
    page = folder / PAGE
    if not folder.is_dir():
        raise OutputError(f"there is no folder {folder} for {PAGE}; create it or choose another one")
    _check_ours(page)
    pictures, pace = [], 0.0  # seconds for a pixel
    for index, job in enumerate(report.jobs):
        if on_progress is not None:
            on_progress(index, len(report.jobs))
        made = make_pictures(job, folder, make=False)
        if made.pending and not due(pace * job.width * job.height):
            began = time.monotonic()
            made = make_pictures(job, folder)
            pace = max(pace, (time.monotonic() - began) / max(1, job.width * job.height))
        pictures.append(made)
    html = page_of(report, pictures, folder).encode("utf-8", "replace")  # names on disks need not be Unicode
    save(page, html)
    return page


def is_complete(page: Path) -> bool:
    """Whether a report shows every picture that there was when it was written; False where there is none."""
    try:
        with page.open("rb") as file:
            return PENDING not in file.read(1000)
    except OSError:
        return False


def page_of(report: Report, pictures: Sequence[JobPictures], folder: Path) -> str:
    """The text of the page, for pictures as `make_pictures` gave them, one for each job."""
    settings = [_card_settings(job) for job in report.jobs]
    shared = shared_settings(settings)
    cards = [
        Card(
            job=job,
            pictures=made,
            chart=chart(job.curves, job.levels),
            facts=facts(job, paper_of(own)),
            own_settings=tuple((key, value) for key, value in own.items() if key not in shared),
            output_address=address(job.output, folder) if job.output.is_file() else None,
        )
        for job, made, own in zip(report.jobs, pictures, settings, strict=True)
        if job.state == "done"
    ]
    environment = _environment()
    css, js = (_text(name) for name in ("report.css", "report.js"))
    # The page's own script runs, by its digest, and no other: not even if a file's name got past the escaping.
    digest = base64.b64encode(hashlib.sha256(js.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        report=report,
        totals=report.totals,
        cards=cards,
        retries=retries(report.in_state("failed")),
        others=report.in_state("running", "interrupted", "waiting", "skipped"),
        shared=tuple(shared.items()),
        mat=mat_proportions([made for made in pictures if made.after]),
        pending=sum(made.pending for made in pictures),
        report_command=command("report", folder),
        address_of=lambda path: address(path, folder),
        files=FOLDER,
        css=css,
        js=js,
        digest=digest,
    )


def _card_settings(job: ReportedJob) -> dict[str, str]:
    """A job's settings by dotted key, without the paintings' files, which have a place of their own."""
    flat = settings_text(job.settings)
    return {key: value for key, value in flat.items() if not (key.startswith("styles.") and key.endswith(".image"))}


def settings_text(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings by dotted key, as text; what is None is left out."""
    return {key: _text_of(value) for key, value in flatten(settings).items() if value is not None}


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def shared_settings(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """What all jobs that have settings agree on."""
    known = [own for own in settings if own]
    counts = Counter(item for own in known for item in own.items())
    return {key: value for key, value in (known[0].items() if known else ()) if counts[key, value] == len(known)}


def retries(failed: Sequence[ReportedJob]) -> tuple[Retry, ...]:
    """The failures by the command that tries them again."""
    commands = dict.fromkeys(job.retry_command for job in failed)
    return tuple(Retry(command, tuple(job for job in failed if job.retry_command == command)) for command in commands)


def mat_proportions(pictures: Sequence[JobPictures]) -> float:
    """Width over height of the mats that all pictures lie on: that of the middle one of them, within limits."""
    middle = statistics.median([made.width / made.height for made in pictures]) if pictures else 1.0
    return round(min(WIDEST, max(NARROWEST, middle)), 4)


def facts(job: ReportedJob, paper: str) -> tuple[str, ...]:
    """The first facts about a picture: pixels, paper, time; what is unknown is left out."""
    size = f"{job.width} × {job.height} px" if job.width else ""
    time = "" if job.seconds is None else duration(job.seconds)
    return tuple(fact.replace(" ", NO_BREAK) for fact in (size, paper, time) if fact)


def paper_of(settings: Mapping[str, str]) -> str:
    """The print's paper, such as `A3, 300 dpi`, from flat settings; empty when it is not for print."""
    paper, dpi = settings.get("output.print.paper"), settings.get("output.print.dpi")
    return "" if paper is None else paper if dpi is None else f"{paper}, {dpi.removesuffix('.0')} dpi"


def day(moment: datetime | None) -> str:
    """A time where the reader is, such as `21 November 2026, 07:03`."""
    if moment is None:
        return ""
    local = moment.astimezone()
    return f"{local.day} {local:%B %Y, %H:%M}"


def _text(name: str) -> str:
    """A file beside the template, as it is."""
    return (resources.files("hires_nst.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hires_nst.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"duration": duration, "number": number, "day": day}
    return environment


def _check_ours(page: Path) -> None:
    """Refuse to replace what this program has not written."""
    try:
        with page.open("rb") as file:
            ours = GENERATOR in file.read(1000)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{page} cannot be replaced ({error.strerror}); move it away") from error
    if not ours:
        raise OutputError(f"{page} already exists and is not a report of this program; move it away")
