"""Reports: one page of HTML about a run or a batch, with the pictures beside it.

```python
from hires_nst import report

page = report.write("prints")
```
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hires_nst.report.writing import is_complete, is_up_to_date, write

__all__ = ["is_complete", "is_up_to_date", "write"]


def __getattr__(name: str) -> Any:
    """Import what is public when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.writing"), name)
