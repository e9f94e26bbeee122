"""Batches: many pictures in one command, with a ledger of what is done, and the workers that paint them.

```python
from hires_nst import batch

batch.run("photos", "prints", styles=["starry.jpg"])
```

`run`, `resume`, `plan` and `jobs` do what the commands do. Importing this package loads neither them nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hires_nst.batch.api import BatchPlan, jobs, plan, resume, run
    from hires_nst.batch.job import Job, Jobs
    from hires_nst.batch.runner import Summary

__all__ = ["BatchPlan", "Job", "Jobs", "Summary", "jobs", "plan", "resume", "run"]

_MODULES = {"Job": "job", "Jobs": "job", "Summary": "runner"}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'api')}"), name)
