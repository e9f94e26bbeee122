"""The options that commands share, and the configuration that follows from them.

An option that is not given is None and changes nothing. Precedence: option, `--set`, file, preset, schema.
"""

from __future__ import annotations

import inspect
import math
import os
import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hires_nst.cli.progress import counted
from hires_nst.cli.schema_options import (
    Command,
    ConfigOption,
    Decorator,
    checked,
    choice,
    flag_of,
    is_option,
    number_or_word,
    parameters_of,
    with_parameters,
)
from hires_nst.config import (
    PRESETS,
    Config,
    InitKind,
    Rotation,
    assign,
    check_option,
    gather,
    merge,
    nest,
    parse_config,
)
from hires_nst.errors import ConfigError, nearest

path_argument = partial(typer.Argument, readable=False)
path_option = partial(typer.Option, readable=False)
"""For paths, which the library checks: Typer would call a file that it may not read a mistake in the usage."""

SOURCE, SIZE, LOOK, ENGINE = "Configuration", "Size and file", "Look", "Engine"
JOBS, RUNNING = "Jobs", "Running"
CLUSTER = "Cluster"


def _wants_json(ctx: typer.Context, wanted: bool) -> bool:
    ctx.meta["json"] = wanted  # so that an error is printed as JSON too
    return wanted


Json = Annotated[
    bool, typer.Option("--json", is_eager=True, callback=_wants_json, help="Print JSON on stdout, one object per line.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
OtherMachine = Annotated[
    bool,
    typer.Option("--other-machine", help="Resume on another machine too; the last bits of the result may then differ."),
]
ExecutorOption = Annotated[
    str,
    typer.Option(
        "--executor",
        metavar="local|ray",
        parser=choice("--executor", ("local", "ray")),
        help="Run on this machine or on a Ray cluster.",
        rich_help_panel=CLUSTER,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Address of the Ray cluster; auto for one on this machine.",
        rich_help_panel=CLUSTER,
    ),
]
Folder = Annotated[
    Path, path_argument(metavar="DIR", help="A run directory, such as print.tif.run, or a batch's output folder.")
]


def _long_edge(text: str) -> str | None:
    """What to do about a `--size` of two sides, or on paper."""
    sides = re.fullmatch(r"\s*([0-9]{1,6})\s*[x×*]\s*([0-9]{1,6})\s*(px)?\s*", text, re.IGNORECASE)
    if sides is not None:
        return f"it is the longer side alone, so write {{option}} {max(int(sides[1]), int(sides[2]))}"
    if re.search("[0-9] *(mm|cm|in)$", text.strip().lower()):
        return "a size on paper is a print, such as --print 30x40cm"
    if re.fullmatch("[0-9]{1,3}([,.'][0-9]{3})+", text.strip()):
        return f"write {{option}} {re.sub('[^0-9]', '', text)}"
    return "a paper is a print: --print " + text if text.strip().upper() in ("A0", "A1", "A2", "A3", "A4") else None


def _rotations(text: str) -> list[Any]:
    """The degrees of `--style-rotations`; ConfigError where they are no rotations of the schema, or one is twice."""
    rotations = [number_or_word(part) for part in text.split(",")]
    if not {*rotations} <= {*typing.get_args(Rotation)} or len({*rotations}) < len(rotations):
        raise ConfigError(f"--style-rotations needs some of 90, 180 and 270, such as 90,180,270, not {text!r}")
    return rotations


CONFIG_OPTIONS = (
    ConfigOption(
        name="config", panel=SOURCE, flags=("--config", "-c"), metavar="FILE", type=Path,
        help="YAML configuration.",
    ),
    ConfigOption(
        name="preset", panel=SOURCE, metavar="NAME", type=str, parser=choice("--preset", PRESETS),
        help=f"Preset to start from: {', '.join(PRESETS)}.",
    ),
    ConfigOption(
        name="assignments", panel=SOURCE, flags=("--set",), metavar="KEY=VALUE", type=list[str],
        help="Set any key of the configuration, such as levels.rounds=24; repeatable.",
    ),
    ConfigOption(name="size", key="output.long_edge", panel=SIZE, metavar="PIXELS", unit="px", advice=_long_edge),
    ConfigOption(name="megapixels", key="output.megapixels", panel=SIZE, metavar="X", unit="MP"),
    ConfigOption(name="scale", key="output.scale", panel=SIZE, metavar="X", unit="x"),
    ConfigOption(name="print", key="output.print.paper", panel=SIZE, metavar="PAPER"),
    ConfigOption(
        name="dpi", panel=SIZE, metavar="N", type=float, parser=checked("output.dpi", "--dpi", unit="dpi"),
        help="Pixels per inch of the print; without a print, only stored in the file.",
    ),
    ConfigOption(name="fit", key="output.print.fit", panel=SIZE),
    ConfigOption(name="bleed", key="output.print.bleed_mm", panel=SIZE, metavar="MM", unit="mm"),
    ConfigOption(name="bit_depth", key="output.bit_depth", panel=SIZE),
    ConfigOption(name="quality", key="output.quality", panel=SIZE, metavar="1-100"),
    ConfigOption(name="background", key="output.background", panel=SIZE, metavar="COLOUR"),
    ConfigOption(
        name="strip", key="output.metadata", value="strip", panel=SIZE, flags=("--strip",),
        help="Write no metadata into the result: neither the photograph's nor how it was painted.",
    ),
    ConfigOption(name="keep_location", key="output.keep_location", panel=SIZE, flags=("--keep-location",)),
    ConfigOption(name="layers", key="loss.layers", panel=LOOK, metavar="NAME"),
    ConfigOption(name="content_weight", key="loss.content_weight", panel=LOOK, metavar="X"),
    ConfigOption(name="colors", key="colors.mode", panel=LOOK, metavar="MODE", flags=("--colors", "--colours")),
    ConfigOption(name="color_strength", key="colors.strength", panel=LOOK, metavar="0-1"),
    ConfigOption(name="style_scale", key="styles.scale", panel=LOOK, metavar="X", repeatable=True),
    ConfigOption(name="style_size", key="styles.size", panel=LOOK, metavar="PIXELS", unit="px"),
    ConfigOption(
        name="style_rotations", panel=LOOK, metavar="DEGREES,...", type=str, parser=_rotations,
        help="Take the paintings rotated too, by some of 90, 180 and 270 degrees, such as 90,180,270.",
    ),
    ConfigOption(name="style_mirror", key="styles.mirror", panel=LOOK, flags=("--style-mirror",)),
    ConfigOption(
        name="merge_styles", panel=LOOK, type=bool, flags=("--merge-styles",),
        help="Take all paintings of a folder together as one style.",
    ),
    ConfigOption(
        name="style_weights", panel=LOOK, metavar="X,Y,...", type=str,
        help="Weight of each painting relative to the others, in their order.",
    ),
    ConfigOption(
        name="masks", panel=LOOK, flags=("--mask",), metavar="MASK", type=list[str],
        help="Mask of the photograph, white where a painting counts; one for each painting, in their order, - for "
        "what the others leave. Repeatable.",
    ),
    ConfigOption(name="protect", key="regions.protect", panel=LOOK, metavar="MASK|faces"),
    ConfigOption(name="protect_strength", key="regions.protect_strength", panel=LOOK, metavar="X"),
    ConfigOption(name="content_mask", key="regions.content", panel=LOOK, metavar="MASK"),
    ConfigOption(
        name="init", panel=LOOK, metavar="KIND|FILE", type=str,
        help="Initial image: content, style, style-noise, grey, noise, uniform, or an image file.",
    ),
    ConfigOption(name="init_level", key="init.level", panel=LOOK, metavar="auto|coarsest|N"),
    ConfigOption(name="init_noise", key="init.noise", panel=LOOK, metavar="X"),
    ConfigOption(name="seed", key="runtime.seed", panel=LOOK, metavar="N"),
    ConfigOption(name="model", key="model.name", panel=ENGINE, metavar="NAME"),
    ConfigOption(name="pooling", key="model.pooling", panel=ENGINE),
    ConfigOption(name="optimizer", key="optimizer.name", panel=ENGINE),
    ConfigOption(name="coupling", key="tiles.coupling", panel=ENGINE),
    ConfigOption(name="tile_size", key="tiles.size", panel=ENGINE, metavar="PIXELS|auto", unit="px"),
    ConfigOption(name="overlap", key="tiles.overlap", panel=ENGINE, metavar="PIXELS|auto", unit="px"),
    ConfigOption(name="device", key="runtime.device", panel=ENGINE, metavar="DEVICE"),
    ConfigOption(name="precision", key="runtime.precision", panel=ENGINE),
)  # fmt: skip
"""Options of every command with a configuration."""

TILE_OPTIONS = (ConfigOption(name="workers", key="runtime.workers", panel=ENGINE),)
"""Options of the command for one picture."""

BATCH_OPTIONS = (
    ConfigOption(name="recursive", key="batch.recursive", panel=JOBS, flags=("--recursive", "-r")),
    ConfigOption(name="include", key="batch.include", panel=JOBS, metavar="PATTERN"),
    ConfigOption(name="exclude", key="batch.exclude", panel=JOBS, metavar="PATTERN"),
    ConfigOption(name="match", key="batch.match", panel=JOBS),
    ConfigOption(name="template", key="batch.template", panel=JOBS, metavar="NAME"),
    ConfigOption(name="order", key="batch.order", panel=JOBS),
    ConfigOption(name="changed", key="batch.changed", panel=JOBS),
    ConfigOption(name="retries", key="batch.retries", panel=RUNNING, metavar="N"),
    ConfigOption(name="retry_wait", key="batch.retry_wait", panel=RUNNING, metavar="SECONDS", unit="s"),
    ConfigOption(name="workers", key="batch.workers", panel=RUNNING),
    ConfigOption(name="workers_per_gpu", key="batch.workers_per_gpu", panel=RUNNING),
)
"""Options of the commands for batches."""


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """The options of a command that set a part of the configuration, None when not given.

    Attributes:
        values: of the options that set one key, by key.
    """

    config: Path | None = None
    preset: str | None = None
    assignments: Sequence[str] | None = None
    dpi: float | None = None
    style_weights: str | None = None
    masks: Sequence[str] | None = None
    style_rotations: Sequence[Rotation] | None = None
    merge_styles: bool | None = None
    init: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, arguments: Mapping[str, Any], more: Sequence[ConfigOption] = BATCH_OPTIONS) -> ConfigOptions:
        """The options among the arguments of a command that has the options `more` besides the common ones."""
        given = {
            option: arguments[option.name]
            for option in (*CONFIG_OPTIONS, *more)
            if arguments.get(option.name) not in (None, [], ())
        }
        values = {
            option.key: option.value or (_one_or_several(value) if option.repeatable else value)
            for option, value in given.items()
            if option.key is not None
        }
        return cls(values=values, **{option.name: value for option, value in given.items() if option.key is None})

    @property
    def of_batch(self) -> list[str]:
        """The options for batches that were given, such as `--recursive`."""
        return [option.all_flags[0] for option in BATCH_OPTIONS if option.key in self.values]

    @property
    def of_styles(self) -> dict[str, Any]:
        """What was given for all paintings, such as their `scale`."""
        given = {key.removeprefix(_STYLES): value for key, value in self.values.items() if key.startswith(_STYLES)}
        return given if self.style_rotations is None else {**given, "rotations": self.style_rotations}

    def gallery(self) -> tuple[Path, ...]:
        """The folders of the user's own paintings, from the file, the preset and `--set`; errors as `effective`."""
        data = self.sources()
        for assignment in self.assignments or ():
            data = assign(data, assignment)
        return parse_config({"gallery": data.get("gallery", ())}).gallery_folders

    def styles_of(self, paths: Sequence[Path]) -> list[dict[str, Any]]:
        """The settings of paintings on the command line, and of folders of them, with what was given for all."""
        folders = [path for path in paths if self.merge_styles and path.is_dir()]
        return [{"folder" if path in folders else "image": str(path), **self.of_styles} for path in paths]

    def sources(self) -> dict[str, Any]:
        """The settings of the preset and the file; errors as `effective`."""
        return gather(self.config, preset=self.preset)

    def effective(self, styles: Sequence[Path] = (), *, sources: Mapping[str, Any] | None = None) -> Config:
        """The configuration of all sources together.

        Args:
            styles: replace the paintings of the other sources.
            sources: replace the settings of the preset and the file.

        Raises:
            ConfigError: an unknown option, key or value, or some that exclude each other.
            InputError: the configuration file cannot be read.
        """
        sizes = [option.all_flags[0] for option in CONFIG_OPTIONS if option.key in _SIZES and option.key in self.values]
        if len(sizes) > 1:
            raise ConfigError(f"{' and '.join(sizes)} each set the size; give one of them")
        below = dict(self.sources() if sources is None else sources)
        if _LAYERS in self.values:  # they replace those of a preset and a file, not those of `--set`
            below = merge(below, nest({_LAYERS: self.values[_LAYERS]}))
        for assignment in self.assignments or ():
            below = assign(below, assignment)
        chosen = nest({key: value for key, value in self.values.items() if not key.startswith(_STYLES)})
        if self.dpi is not None or "print" in chosen.get("output", {}):
            chosen["output"] = self._output(chosen.get("output", {}), below)
        if self.init is not None:
            chosen["init"] = {**chosen.get("init", {}), **_start(self.init)}
        if styles or self.of_styles or self.style_weights is not None or self.masks:
            chosen["styles"] = self._styles(styles, below)
        return parse_config(merge(below, chosen))

    def _output(self, output: dict[str, Any], below: Mapping[str, Any]) -> dict[str, Any]:
        """The section `output` of the command line, where `--dpi` belongs to a print or to the file."""
        if self.dpi is not None and "print" in output:
            check_option("output.print.dpi", self.dpi, option="--dpi", text=f"{self.dpi:g}")
        sizes = output.keys() & {"long_edge", "megapixels", "scale"}  # they replace a print of the other sources
        output_below = below.get("output")
        inherited = not sizes and isinstance(output_below, Mapping) and output_below.get("print") is not None
        print_options = output.get("print", {})
        if inherited or "paper" in print_options:
            return {**output, "print": {**print_options, **({} if self.dpi is None else {"dpi": self.dpi})}}
        if print_options:
            option = "--fit" if "fit" in print_options else "--bleed"
            raise ConfigError(f"{option} is for prints: add the paper, such as --print A3")
        return {**output, "dpi": self.dpi}

    def _styles(self, paths: Sequence[Path], below: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The paintings with the scale, weights and masks of the command line."""
        styles: list[dict[str, Any]] = self.styles_of(paths) or below.get("styles") or []
        if not isinstance(styles, list) or not all(isinstance(style, dict) for style in styles):
            return styles  # the schema refuses them with a message
        if not paths:
            given = self.of_styles
            replaced = {"scale", "size"} if {"scale", "size"} & given.keys() else set()  # each replaces the other
            styles = [{**{k: v for k, v in style.items() if k not in replaced}, **given} for style in styles]
        if self.style_weights is not None:
            weights = _numbers(self.style_weights)
            if len(weights) != len(styles):
                raise ConfigError(
                    f"--style-weights has {counted(len(weights), 'weight')} for {counted(len(styles), 'painting')}; "
                    "give one for each"
                )
            styles = [{**style, "weight": weight} for style, weight in zip(styles, weights, strict=True)]
        if self.masks:
            if len(self.masks) != len(styles):
                raise ConfigError(
                    f"--mask is given {counted(len(self.masks), 'time')} for {counted(len(styles), 'painting')}; give "
                    "one for each, - for what the others leave"
                )
            masks = [None if mask == "-" else mask for mask in self.masks]
            styles = [{**style, "mask": mask} for style, mask in zip(styles, masks, strict=True)]
        return styles


_SIZES = ("output.long_edge", "output.megapixels", "output.scale", "output.print.paper")
_STYLES = "styles."
"""Of every painting, so not simply one key."""
_LAYERS = "loss.layers"


def takes_config_options(*more: ConfigOption) -> Decorator:
    """Give a command the options `more` and `CONFIG_OPTIONS`, as one argument `options`."""

    def take(command: Command) -> Command:
        own = parameters_of(command, without="options")
        shared = [option.parameter() for option in (*more, *CONFIG_OPTIONS)]
        number = next((index for index, parameter in enumerate(own) if is_option(parameter)), len(own))

        def run(**arguments: Any) -> None:
            options = ConfigOptions.of({parameter.name: arguments.pop(parameter.name) for parameter in shared}, more)
            command(options=options, **arguments)

        first, last = shared[: len(more)], shared[len(more) :]  # panels appear in the order of their first option
        return with_parameters(run, [*own[:number], *first, *own[number:], *last], like=command)

    return take


def takes_options_of(*others: Command) -> Decorator:
    """Let a command accept the options of other commands besides its own.

    Those that were given are its argument `others`: each option, such as `--retry-failed`, with the names of its
    commands.
    """

    def take(command: Command) -> Command:
        own = parameters_of(command, without="others")
        names = {parameter.name for parameter in own}
        more: dict[str, inspect.Parameter] = {}
        owners: dict[str, set[str]] = {}
        for other in others:
            for parameter in parameters_of(other):
                if parameter.name not in names and is_option(parameter):
                    more[parameter.name] = parameter
                    owners.setdefault(parameter.name, set()).add(other.__name__)

        def run(**arguments: Any) -> None:
            given = [name for name in more if arguments.pop(name) != more[name].default]
            command(others={flag_of(more[name]): owners[name] for name in given}, **arguments)

        return with_parameters(run, [*own, *more.values()], like=command)

    return take


def _start(text: str) -> dict[str, Any]:
    """The settings of `--init`: a kind of initial image, or an image file."""
    kinds = [kind for kind in typing.get_args(InitKind) if kind != "file"]
    if text in kinds:
        return {"kind": text, "file": None}
    if not os.access(text, os.F_OK) and not Path(text).suffix and Path(text).name == text:
        raise ConfigError(
            f"--init: {text!r} is neither an image file nor a kind of initial image{nearest(text, kinds)}"
        )
    return {"kind": "file", "file": text}


def _one_or_several(values: Sequence[Any]) -> Any:
    """The value of an option that was given once, or all of them."""
    return values[0] if len(values) == 1 else list(values)


def _numbers(text: str) -> list[float]:
    numbers = [number_or_word(part) for part in text.split(",")]
    weights = [float(number) for number in numbers if not isinstance(number, str)]
    if len(weights) < len(numbers) or not all(0 < weight < math.inf for weight in weights):
        raise ConfigError(f"--style-weights needs numbers above 0 separated by commas, such as 2,1, not {text!r}")
    return weights
