"""Neural style transfer at print size: coarse to fine, in coupled tiles.

```python
from hires_nst import Config, stylize

stylize("photo.jpg", "print.png", styles=["painting.jpg"], config=Config(output={"long_edge": 4000}))
```

Each command has a function: `stylize`, `plan`, `resume`, `status`, `evaluate`, `show`, `doctor`, `batch.run`,
`batch.plan`, `batch.jobs`, `report.write`, `models.list`, `models.fetch`, `models.import_file`, `models.verify`,
`styles.list`, `config.init`, `config.validate` and `config.json_schema`; beside them, `register_network` lets a module
of your own take the place of the networks. They call `on_event` with the events of `hires_nst.events`, stop at the
request of a `Stop`, and raise subclasses of `HiresNstError` (`hires_nst.errors`). Importing this package loads neither
them nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hires_nst.config import Config, StyleImage, load_config
from hires_nst.errors import HiresNstError
from hires_nst.stopping import Stop
from hires_nst.version import VERSION

if TYPE_CHECKING:
    from hires_nst import batch, config, errors, events, report
    from hires_nst.backbones import models
    from hires_nst.backbones.own import register_network
    from hires_nst.batch.status import BatchStatus
    from hires_nst.evaluation.evaluate import Evaluation, evaluate
    from hires_nst.folders import resume, status
    from hires_nst.gallery import styles
    from hires_nst.imageio.images import ImageInput
    from hires_nst.run.diagnosis import Diagnosis, doctor
    from hires_nst.run.pipeline import plan, stylize
    from hires_nst.run.plan import Plan
    from hires_nst.run.provenance import PictureInfo, show
    from hires_nst.run.single_run import Result
    from hires_nst.run.status import RunStatus

__version__ = VERSION
__all__ = [
    "BatchStatus",
    "Config",
    "Diagnosis",
    "Evaluation",
    "HiresNstError",
    "ImageInput",
    "PictureInfo",
    "Plan",
    "Result",
    "RunStatus",
    "Stop",
    "StyleImage",
    "__version__",
    "batch",
    "config",
    "doctor",
    "errors",
    "evaluate",
    "events",
    "load_config",
    "models",
    "plan",
    "register_network",
    "report",
    "resume",
    "show",
    "status",
    "styles",
    "stylize",
]

_MODULES = {
    "BatchStatus": "batch.status",
    "ImageInput": "imageio.images",
    "RunStatus": "run.status",
    "Diagnosis": "run.diagnosis",
    "Evaluation": "evaluation.evaluate",
    "PictureInfo": "run.provenance",
    "Plan": "run.plan",
    "Result": "run.single_run",
    "doctor": "run.diagnosis",
    "evaluate": "evaluation.evaluate",
    "plan": "run.pipeline",
    "register_network": "backbones.own",
    "resume": "folders",
    "show": "run.provenance",
    "status": "folders",
    "stylize": "run.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import a public name at its first use."""
    if name in ("models", "styles"):
        return import_module(f"hires_nst.{'backbones' if name == 'models' else 'gallery'}.{name}")
    if name in _MODULES:
        return getattr(import_module(f"hires_nst.{_MODULES[name]}"), name)
    if name in __all__:  # a package
        return import_module(f"hires_nst.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
