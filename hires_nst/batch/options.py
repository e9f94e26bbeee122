"""How a batch is to be gone about, and how the ledger keeps that for `hires-nst resume`."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hires_nst.batch.job import Job, Jobs
from hires_nst.batch.rows import read_asked, read_orders, read_rows, read_settings
from hires_nst.config import Batch, parse_config
from hires_nst.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How to go about a batch: what goes for all of its runs, and what is asked for this time only.

    Attributes:
        seed: of the order `shuffle`.
        device: see `runtime.device`.
        executor: local or ray.
        address, ship: of a Ray cluster, see `RayExecutor`.
        overwrite: this time, pictures that are not of this batch may be replaced.
        retry_failed: this time, jobs that failed in earlier runs are tried again.
        fail_fast: this time, the first job that fails for good ends the batch.
    """

    batch: Batch
    seed: int = 0
    device: str = "auto"
    executor: str = "local"
    address: str | None = None
    ship: bool = False
    overwrite: bool = False
    retry_failed: bool = False
    fail_fast: bool = False

    def lasting(self) -> dict[str, Any]:
        """What goes for all runs, as JSON-ready data."""
        return {
            "batch": self.batch.model_dump(mode="json"), "seed": self.seed, "device": self.device,
            "executor": self.executor, "address": self.address, "ship": self.ship,
        }  # fmt: skip


def stored(database: sqlite3.Connection, folder: Path) -> tuple[Jobs, BatchOptions]:
    """The jobs that are asked for (see `read_asked`), with the settings that they were last to have, and the orders of
    the last run; others are left alone.

    Raises:
        ConfigError: there are none, or the schema does not know them.
    """
    orders = read_orders(database)
    if orders is None:
        raise ConfigError(f"the batch in {folder} was never begun; give its command again")
    configs = {key: parse_config(settings) for key, settings in read_settings(database).items()}
    rows = read_rows(database)
    asked = read_asked(database, rows, now=time.time()) or {}
    jobs = tuple(
        Job(index=index, content=Path(content), output=rows[id].output, config=configs[config])
        for index, (id, (content, config)) in enumerate(asked.items(), start=1)
    )
    return Jobs(jobs, {}), _orders(orders)


def _orders(data: Mapping[str, Any]) -> BatchOptions:
    names = ("seed", "device", "executor", "address", "ship")
    if not data.keys() >= {"batch", *names}:
        raise ConfigError("the ledger does not tell how the batch is to be gone about; give its command again")
    plain = BatchOptions(batch=parse_config({"batch": data["batch"]}).batch)
    return replace(plain, **{name: data[name] for name in names})
