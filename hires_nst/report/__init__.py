"""Reports: one HTML page about a run or a batch, with its pictures beside it.

```python
from hires_nst import report

page = report.write("prints")
```
"""

from __future__ import annotations

from pathlib import Path

from hires_nst.batch.ledger_reading import read_changes, read_selected_since, reading
from hires_nst.batch.paths import working_folder
from hires_nst.report.render import PAGE, OnProgress, is_complete, write_report
from hires_nst.report.sources import gather
from hires_nst.stopping import Stop

__all__ = ["is_complete", "is_up_to_date", "write"]


def write(folder: Path | str, *, stop: Stop | None = None, on_progress: OnProgress | None = None) -> Path:
    """Write the report of a run directory or of a batch's output folder, `folder`/report.html.

    Args:
        stop: once it is due, no more pictures are made: the page shows those that are ready; see `is_complete`.
        on_progress: called with the number of jobs whose pictures are made, and the number of all jobs.

    Returns:
        The path of the page.

    Raises:
        InputError: it is not such a folder, or cannot be read. OutputError: the page cannot be written, or there is a
            report.html of another program. ResourceError: the disk is full.
    """
    folder = working_folder(Path(folder))
    return write_report(gather(folder), folder, on_progress=on_progress, due=(stop or Stop()).due)


def is_up_to_date(folder: Path) -> bool:
    """Whether the report of a batch is complete, and newer than the last change of a job and of the selection.

    Raises:
        As `reading`.
    """
    page = folder / PAGE
    if not is_complete(page):
        return False
    with reading(folder) as database:
        last = max([read_selected_since(database), *(moment for _, moment, _, _ in read_changes(database))])
    return page.stat().st_mtime > last
