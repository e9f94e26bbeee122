"""Neural style transfer at print size: coarse to fine, in coupled tiles.

from hires_nst import Config, stylize

stylize("photo.jpg", "print.png", styles="painting.jpg", config=Config(output={"long_edge": 4000}))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hires_nst.config import Config, load_config
from hires_nst.errors import HiresNstError
from hires_nst.version import VERSION

if TYPE_CHECKING:
    from hires_nst.batch.status import status
    from hires_nst.run.pipeline import plan, resume, stylize
    from hires_nst.run.plan import Plan
    from hires_nst.run.single_run import Result

__version__ = VERSION
__all__ = [
    "Config", "HiresNstError", "Plan", "Result", "__version__", "load_config", "plan", "resume", "status", "stylize",
]  # fmt: skip


_PLACES = {
    "plan": "run.pipeline", "resume": "run.pipeline", "stylize": "run.pipeline", "status": "batch.status",
    "Plan": "run.plan", "Result": "run.single_run",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the engine, and torch with it, when it is first asked for."""
    if name in _PLACES:
        return getattr(import_module(f"hires_nst.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
