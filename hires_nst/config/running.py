"""The sections on how the program works; their defaults stand here and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hires_nst.config.section import Number, Positive, Section, Whole
from hires_nst.quantities import parse_amount

Precision = Literal["auto", "float32", "bfloat16"]


class Runtime(Section):
    """Device, precision, memory and random seed."""

    device: str = Field(
        "auto", description="Device: auto, cpu, cuda or cuda:N (NVIDIA, AMD), or mps (Apple).", examples=["cuda:0"]
    )
    precision: Precision = Field(
        "auto", description="Precision of the network: float32 or bfloat16; auto is the faster that keeps the gradient."
    )
    deterministic: bool = Field(True, description="The same bytes each time on a GPU; false may be faster.")
    cuda_graphs: bool = Field(
        True, description="Record the kernels of an evaluation once on a GPU where it has many steps, and repeat them."
    )
    memory: Number | str = Field(
        0.8,
        description="Memory to use: a share of what is free, above 0 to 1, or an amount such as 4 GB, which workers on "
        "the same device divide.",
        examples=["4 GB"],
    )
    canvas: Literal["auto", "memory", "disk"] = Field(
        "auto", description="Where full-size images are stored: memory or disk; auto is disk when memory is short."
    )
    seed: Annotated[Whole, Field(ge=0, lt=2**63)] = Field(0, description="Seed of the random numbers.")
    workers: Literal["auto"] | Annotated[Whole, Field(ge=1, le=1024)] | None = Field(
        None,
        description="Processes that share the tiles of one picture; auto is one for each CUDA device; when not given, "
        "one, or on a Ray cluster as many as it has room for.",
        examples=[2],
    )

    @field_validator("memory", mode="before")
    @classmethod
    def _memory(cls, value: Any) -> Any:
        if isinstance(value, str):
            parse_amount(value)
        elif isinstance(value, (int, float)) and not 0 < value <= 1:
            raise ValueError(f"{value} is no share of the memory; write one above 0 to 1, or an amount such as 4 GB")
        return value

    def budget(self, free: int, *, taken: int = 0, workers: int = 1) -> int:
        """Bytes to use, of those that are free and where so many of them are taken already; at least 0.

        An amount is for so many `workers` together.
        """
        if isinstance(self.memory, str):
            return max(0, min(free, parse_amount(self.memory) // workers) - taken)
        return int(max(0, free - taken) * self.memory)

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if not re.fullmatch("auto|cpu|mps|cuda(:[0-9]{1,3})?", value):
            raise ValueError(f"there is no device {value!r}; write auto, cpu, cuda, cuda:N or mps")
        return value


class Checkpoint(Section):
    """What a run stores on disk so that it can be resumed after an interruption."""

    every: Literal["auto", "tile", "round", "level"] = Field(
        "auto",
        description="Save after every tile, round or level; auto is tile on a processor, and on a GPU as often as the "
        "time that it takes allows.",
    )
    every_seconds: Positive = Field(
        60.0, description="Seconds between saves inside a tile of many steps, and with every: auto at most."
    )
    keep: Annotated[Whole, Field(ge=1, le=1000)] = Field(
        1, description="Finished rounds to keep; the earlier ones serve if a file is damaged."
    )
    directory: Path | None = Field(
        None, description="Run directory for checkpoints; OUT.run beside the result when not given."
    )
    keep_run: bool = Field(False, description="Keep the run directory after the result is written.")


class Images(Section):
    """Limits on input images."""

    max_megapixels: Positive = Field(500.0, description="Inputs of more megapixels than this are refused.")


class BatchJob(Section):
    """A job of a batch, with settings of its own."""

    content: Path = Field(description="The photograph's file.", examples=["photo.jpg"])
    style: Path | None = Field(None, description="The painting's file; those under styles: when not given.")
    output: str | None = Field(None, description="Name of the picture; batch.template when not given.")
    set: dict[str, Any] = Field(
        default={}, description="Settings for this job only, such as {output: {long_edge: 3000}}."
    )

    @model_validator(mode="after")
    def _one_style(self) -> BatchJob:
        if self.style is not None and "styles" in self.set:
            raise ValueError("style and set.styles both name the painting: give one of them")
        if inside := self.set.keys() & {"batch", "jobs"}:
            raise ValueError(f"set cannot contain {' and '.join(sorted(inside))}; give that for the whole batch")
        return self


class Batch(Section):
    """Many pictures at once, with `hires-nst batch`."""

    recursive: bool = Field(False, description="Include photographs in subfolders.")
    include: tuple[str, ...] = Field((), description="Use only photographs whose names match, such as IMG_*.jpg.")
    exclude: tuple[str, ...] = Field((), description="Leave out photographs whose names match, such as *_small.jpg.")
    match: Literal["product", "zip", "stem"] = Field(
        "product",
        description="product pairs each photograph with each painting, zip pairs them in order, stem by equal names.",
    )
    order: Literal["name", "size", "shuffle", "shortest"] = Field(
        "name", description="Order of the jobs: name, size (largest first), shuffle, or shortest (least work first)."
    )
    template: str = Field(
        "{content}-{style}.png",
        description="Names of the pictures, with {content}, {style}, {index}, {parent}, {width}, {height}, {preset}.",
    )
    retries: Annotated[Whole, Field(ge=0, le=1000)] = Field(1, description="How often to retry a failed job.")
    retry_wait: Annotated[Number, Field(ge=0, le=86_400)] = Field(10.0, description="Seconds to wait before a retry.")
    changed: Literal["redo", "skip", "fail"] = Field(
        "skip",
        description="What to do with a finished picture whose settings, inputs or file changed: redo, skip or fail.",
    )
    workers: Literal["auto"] | Annotated[Whole, Field(ge=1, le=256)] = Field(
        "auto", description="Worker processes; auto is one for each CUDA device or more (workers_per_gpu), or one."
    )
    workers_per_gpu: Literal["auto"] | Annotated[Whole, Field(ge=1, le=64)] = Field(
        "auto",
        description="With workers: auto, the workers on each CUDA device of this machine; auto is up to 4 for small "
        "pictures and up to 2 for large ones, as memory and processor cores allow, and 1 on a GPU that is in use.",
        examples=[2],
    )
    lease_seconds: Annotated[Number, Field(ge=0.1, le=3600)] = Field(
        60.0,
        description="Seconds after which a job, or a tile of one picture, is taken over from a process that has "
        "stopped responding.",
    )
    cluster_cpus: Annotated[Number, Field(gt=0, le=1024)] = Field(
        1.0, description="CPU cores for each job, or worker of one picture, on a Ray cluster."
    )
    cluster_gpus: Annotated[Number, Field(ge=0, le=64)] | None = Field(
        None, description="GPUs for each job, or worker, on a Ray cluster; 1 when not given and the cluster has any."
    )
