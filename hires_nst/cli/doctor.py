"""`hires-nst doctor`: what is here, and what would stop a run."""

import os
import platform
import shutil
import tempfile
from importlib import metadata
from pathlib import Path

import psutil
import typer

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config import Config
from hires_nst.quantities import amount
from hires_nst.version import VERSION

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "tifffile",
    "scikit-image",
    "safetensors",
    "pydantic",
)
LEAST_MEMORY = 500e6
"""Bytes below which not even a small picture can be expected to come out."""
LEAST_DISK = 100e6


def doctor() -> None:
    """Tell versions, devices, memory, weights and disk space, and what would stop a run here."""
    stops: list[str] = []
    _line("system", f"{platform.platform()}, Python {platform.python_version()}")
    _line("versions", ", ".join([f"hires-nst {VERSION}", *(f"{name} {_version(name)}" for name in PACKAGES)]))
    try:
        import torch

        from hires_nst.backbones import weights
        from hires_nst.run import pipeline
        from hires_nst.transfer.memory import free_host_memory
    except Exception as error:  # whatever a broken installation raises
        stops.append(f"the engine cannot be loaded ({type(error).__name__}: {error}); install hires-nst again")
    else:
        assert pipeline is not None
        _line("devices", ", ".join(_devices()))
        _line("threads", f"{torch.get_num_threads()} of {os.cpu_count()} processors")
        free = free_host_memory()
        _line("memory", f"{amount(free)} free of {amount(psutil.virtual_memory().total)}")
        if free < LEAST_MEMORY:
            stops.append(f"only {amount(free)} of memory are free; close other programs")
        default = Config().model.name
        for backbone in BACKBONES.values():
            state, sentence = weights.verify(backbone)
            _line("weights", f"{state}: {sentence}")
            if backbone.name == default and state != "ok":
                stops.append(sentence)
    for name, folder in (("this folder", Path.cwd()), ("temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        writable = os.access(folder, os.W_OK | os.X_OK)
        _line("disk", f"{amount(free)} free for {name}, {folder}{'' if writable else ', which may not be written to'}")
        if free < LEAST_DISK:
            stops.append(f"only {amount(free)} are free for {name} in {folder}; make room")
        if name == "temporary files" and not writable:
            stops.append(f"the folder for temporary files, {folder}, may not be written to; set TMPDIR to another")
    for stop in stops:
        _line("stops", stop)
    if stops:
        raise typer.Exit(1)
    typer.echo("nothing would stop a run here")


def _line(name: str, text: str) -> None:
    typer.echo(f"{name:10}{text}")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _devices() -> list[str]:
    import torch

    found = [f"cpu ({platform.processor() or platform.machine()})"]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            found.append(f"cuda:{index} ({torch.cuda.get_device_name(index)}, {amount(free)} free of {amount(total)})")
    return found
