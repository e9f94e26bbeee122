"""The options of a batch, and how the ledger stores them for `hires-nst resume`."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from hires_nst.batch.job import Job, Jobs
from hires_nst.batch.ledger_reading import read_options, read_rows, read_selected, read_settings
from hires_nst.config import Batch, Runtime, parse_config
from hires_nst.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """The options of a batch: those that hold for later runs too, and those of this run only.

    Attributes:
        runtime: for its seed, of the order `shuffle`, and its device.
        executor: local or ray.
        address, ship: of a Ray cluster, see `RayExecutor`.
        overwrite: in this run, replace pictures that are not of this batch.
        retry_failed: in this run, retry jobs that failed in earlier ones.
        fail_fast: in this run, end with the first job that fails for good.
    """

    batch: Batch
    runtime: Runtime
    executor: str = "local"
    address: str | None = None
    ship: bool = False
    overwrite: bool = False
    retry_failed: bool = False
    fail_fast: bool = False

    def stored(self) -> dict[str, Any]:
        """The options that hold for later runs, as JSON-ready data."""
        return {
            "batch": self.batch.model_dump(mode="json"), "runtime": self.runtime.model_dump(mode="json"),
            "executor": self.executor, "address": self.address, "ship": self.ship,
        }  # fmt: skip


def read_batch(database: sqlite3.Connection, folder: Path) -> tuple[Jobs, BatchOptions]:
    """The selected jobs of a ledger (see `read_selected`), with their last settings, and the options of the last run.

    Raises:
        ConfigError: there are none, or the schema does not know them.
    """
    stored = read_options(database)
    if stored is None:
        raise ConfigError(f"the batch in {folder} was never started; run its command again")
    try:
        options = TypeAdapter(BatchOptions).validate_python(stored)
    except ValidationError:
        raise ConfigError(f"the ledger in {folder} has no batch settings; run the command again") from None
    configs = {key: parse_config(settings) for key, settings in read_settings(database).items()}
    rows = read_rows(database)
    selected = read_selected(database, rows, now=time.time()) or {}
    if not {config for _, config in selected.values()} <= configs.keys():
        raise sqlite3.DatabaseError("the settings of a job are missing")
    jobs = tuple(
        Job(index=index, content=Path(content), output=rows[id].output, config=configs[config])
        for index, (id, (content, config)) in enumerate(selected.items(), start=1)
    )
    return Jobs(jobs, {}), options
