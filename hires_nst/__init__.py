"""Neural style transfer at print size: coarse to fine, in coupled tiles.

from hires_nst import Config, stylize

stylize("photo.jpg", "print.png", style="painting.jpg", config=Config(output={"long_edge": 4000}))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hires_nst.config import Config, load_config
from hires_nst.errors import HiresNstError
from hires_nst.version import VERSION

if TYPE_CHECKING:
    from hires_nst.batch.status import status
    from hires_nst.run.pipeline import Result, resume, stylize
    from hires_nst.run.plan import Plan, plan

__version__ = VERSION
__all__ = [
    "Config", "HiresNstError", "Plan", "Result", "__version__", "load_config", "plan", "resume", "status", "stylize",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the engine, and torch with it, when it is first asked for."""
    if name in ("Result", "resume", "stylize"):
        return getattr(import_module("hires_nst.run.pipeline"), name)
    if name in ("Plan", "plan"):
        return getattr(import_module("hires_nst.run.plan"), name)
    if name == "status":
        return getattr(import_module("hires_nst.batch.status"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
