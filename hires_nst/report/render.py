"""The page `report.html`: one file, apart from the pictures beside it."""

from __future__ import annotations

import base64
import hashlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hires_nst.config import flatten, role_of
from hires_nst.errors import OutputError
from hires_nst.files import write_bytes
from hires_nst.quantities import duration, number
from hires_nst.report.charts import Chart, chart
from hires_nst.report.model import Report, ReportedJob
from hires_nst.report.pictures import FOLDER, JobPictures, address, make_pictures
from hires_nst.run.directory import command

PAGE = "report.html"
GENERATOR = b'<meta name="generator" content="hires-nst '
PENDING = b'<meta name="pictures" content="to be made">'
NO_BREAK = "\u00a0"
NARROWEST, WIDEST = 0.75, 1.6
"""Limits of the proportions of a card's mat."""

OnProgress = Callable[[int, int], None]
"""Called with the number of jobs whose pictures are made, and the number of all jobs."""

Due = Callable[[float], bool]
"""Whether to stop before a piece of work that takes so many seconds."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """A picture on the page; `facts` are shown below its name, and `own_settings` are those that not all jobs share."""

    job: ReportedJob
    pictures: JobPictures
    chart: Chart | None
    facts: tuple[str, ...]
    own_settings: tuple[tuple[str, str], ...]
    output_address: str | None


def write_report(
    report: Report, folder: Path, *, on_progress: OnProgress | None = None, due: Due = lambda seconds: False
) -> Path:
    """Write `folder`/report.html, with its pictures in `folder`/report-files.

    A finished page replaces an earlier one. Pictures are made only when they are missing or older than their sources;
    one that cannot be read is left out. Once it is `due` to stop, no more are made: the page shows those that are
    ready, and is not complete.

    Returns:
        The path of the page.

    Raises:
        OutputError: the folder cannot be written to, or its report.html is not one of this program's.
        ResourceError: the disk is full.
    """
    page = folder / PAGE
    if not folder.is_dir():
        raise OutputError(f"there is no folder {folder} for {PAGE}; create it or choose another one")
    _check_replaceable(page)
    pictures, pace = [], 0.0  # seconds per pixel
    for index, job in enumerate(report.jobs):
        if on_progress is not None:
            on_progress(index, len(report.jobs))
        shown = make_pictures(job, folder, make=False)
        if shown.pending and not due(pace * job.width * job.height):
            began = time.monotonic()
            shown = make_pictures(job, folder)
            pace = max(pace, (time.monotonic() - began) / max(1, job.width * job.height))
        pictures.append(shown)
    html = page_of(report, pictures, folder=folder).encode("utf-8", "replace")  # file names need not be Unicode
    write_bytes(page, html)
    return page


def is_complete(page: Path) -> bool:
    """Whether a report exists and shows every picture that existed when it was written."""
    try:
        return PENDING not in _head(page)
    except OSError:
        return False


def page_of(report: Report, pictures: Sequence[JobPictures], *, folder: Path) -> str:
    """The text of the page, with the pictures of `make_pictures`, one for each job."""
    settings = [_card_settings(job) for job in report.jobs]
    shared = shared_settings(settings)
    cards = [
        Card(
            job=job,
            pictures=shown,
            chart=chart(job.curves, job.levels),
            facts=facts(job, paper_of(own)),
            own_settings=tuple((key, value) for key, value in own.items() if key not in shared),
            output_address=address(job.output, folder) if job.output.is_file() else None,
        )
        for job, shown, own in zip(report.jobs, pictures, settings, strict=True)
        if job.state == "done"
    ]
    environment = _environment()
    css, js = (_text(name) for name in ("report.css", "report.js"))
    # Only the page's own script may run, by its digest: no other, not even if a file name escaped the escaping.
    digest = base64.b64encode(hashlib.sha256(js.encode()).digest()).decode()
    return environment.get_template("report.html").render(
        report=report,
        totals=report.totals,
        cards=cards,
        retries=retries(report.in_state("failed")),
        others=report.in_state("running", "interrupted", "waiting", "skipped"),
        shared=tuple(shared.items()),
        mat=mat_proportions([shown for shown in pictures if shown.after]),
        pending=sum(shown.pending for shown in pictures),
        report_command=command("report", folder),
        address_of=lambda path: address(path, folder),
        files=FOLDER,
        css=css,
        js=js,
        digest=digest,
    )


def _card_settings(job: ReportedJob) -> dict[str, str]:
    """A job's settings by dotted key, without the style images, which are listed among the files."""
    return {key: value for key, value in settings_text(job.settings).items() if role_of(key) != "painting"}


def settings_text(settings: Mapping[str, Any]) -> dict[str, str]:
    """Nested settings by dotted key, as text; those that are None are left out."""
    return {key: _text_of(value) for key, value in flatten(settings).items() if value is not None}


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def shared_settings(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The settings that all jobs with settings have in common."""
    of_jobs = [own for own in settings if own] or [{}]
    return {key: value for key, value in of_jobs[0].items() if all(own.get(key) == value for own in of_jobs)}


def retries(failed: Sequence[ReportedJob]) -> dict[str | None, list[ReportedJob]]:
    """The failures by the command that retries them; None where there is none."""
    result: dict[str | None, list[ReportedJob]] = {}
    for job in failed:
        result.setdefault(job.retry_command, []).append(job)
    return result


def mat_proportions(pictures: Sequence[JobPictures]) -> float:
    """Width over height of the mats below all pictures: the median of the pictures', within limits."""
    ratio = statistics.median([shown.width / shown.height for shown in pictures]) if pictures else 1.0
    return round(min(WIDEST, max(NARROWEST, ratio)), 4)


def facts(job: ReportedJob, paper: str) -> tuple[str, ...]:
    """The main facts about a picture: pixels, paper, time; unknown ones are left out."""
    size = f"{job.width} × {job.height} px" if job.width else ""
    spent = "" if job.seconds is None else duration(job.seconds)
    return tuple(fact.replace(" ", NO_BREAK) for fact in (size, paper, spent) if fact)


def paper_of(settings: Mapping[str, str]) -> str:
    """The print's paper, such as `A3, 300 dpi`, from flat settings; empty when it is not for print."""
    paper, dpi = settings.get("output.print.paper"), settings.get("output.print.dpi")
    return "" if paper is None else paper if dpi is None else f"{paper}, {dpi.removesuffix('.0')} dpi"


def day(moment: datetime | None) -> str:
    """A time in the local time zone, such as `21 November 2026, 07:03`."""
    if moment is None:
        return ""
    local = moment.astimezone()
    return f"{local.day} {local:%B %Y, %H:%M}"


def _text(name: str) -> str:
    """A file beside the template."""
    return (resources.files("hires_nst.report") / "templates" / name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hires_nst.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"duration": duration, "number": number, "day": day}
    return environment


def _head(page: Path) -> bytes:
    """The start of a page, where its meta elements are."""
    with page.open("rb") as file:
        return file.read(1000)


def _check_replaceable(page: Path) -> None:
    """Raise OutputError where there is a page that another program wrote."""
    try:
        is_report = GENERATOR in _head(page)
    except FileNotFoundError:
        return
    except OSError as error:
        raise OutputError(f"{page} cannot be replaced ({error.strerror}); move it away") from error
    if not is_report:
        raise OutputError(f"{page} already exists and is not a report of this program; move it away")
