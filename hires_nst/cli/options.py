"""The options that `stylize`, `plan` and `config show` share, and the configuration that follows from them.

An option that is not given is None and changes nothing. Precedence: option, `--set`, file, preset, schema.
"""

import functools
import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from hires_nst.backbones.registry import BACKBONES
from hires_nst.config import PRESETS, Config, InitKind, assign, gather, merge, parse_config
from hires_nst.errors import ConfigError, nearest


def number_or_word(text: str) -> int | str:
    """The value of an option that is a whole number or a word such as auto."""
    return int(text) if text.isdecimal() else text


SOURCE, SIZE, LOOK, ENGINE = "Configuration", "Size and file", "Look", "Engine"


@dataclass(frozen=True)
class ConfigOptions:
    """Every option that sets a part of the configuration."""

    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="A YAML configuration.", rich_help_panel=SOURCE),
    ] = None
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"One of {', '.join(PRESETS)}.", rich_help_panel=SOURCE)
    ] = None
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any key, such as levels.rounds=24; repeatable.", rich_help_panel=SOURCE
        ),
    ] = None
    size: Annotated[
        int | None, typer.Option(metavar="PIXELS", help="Pixels of the result's long edge.", rich_help_panel=SIZE)
    ] = None
    megapixels: Annotated[
        float | None, typer.Option(metavar="X", help="Millions of pixels of the result.", rich_help_panel=SIZE)
    ] = None
    scale: Annotated[
        float | None, typer.Option(metavar="X", help="Size relative to the photograph.", rich_help_panel=SIZE)
    ] = None
    print: Annotated[
        str | None,
        typer.Option(
            metavar="PAPER", help="A print: A0 to A6, letter, legal, tabloid, 60x40cm, 24x36in.", rich_help_panel=SIZE
        ),
    ] = None
    dpi: Annotated[
        float | None,
        typer.Option(
            metavar="N", help="Pixels per inch of the print; without a print, only noted in the file.",
            rich_help_panel=SIZE,
        ),
    ] = None  # fmt: skip
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="cover|contain", help="Crop the photograph to the paper, or fit all of it in.", rich_help_panel=SIZE
        ),
    ] = None
    bleed: Annotated[
        float | None,
        typer.Option(metavar="MM", help="Millimetres added on each side, to be cut off.", rich_help_panel=SIZE),
    ] = None
    bit_depth: Annotated[
        int | None, typer.Option(metavar="8|16", help="Bits per channel; 16 for PNG and TIFF.", rich_help_panel=SIZE)
    ] = None
    quality: Annotated[int | None, typer.Option(metavar="1-100", help="Quality of a JPEG.", rich_help_panel=SIZE)] = (
        None
    )
    content_weight: Annotated[
        float | None,
        typer.Option(metavar="X", help="How much the photograph counts, such as 0.2.", rich_help_panel=LOOK),
    ] = None
    style_scale: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="Size of the strokes: the paintings' size relative to the result's.", rich_help_panel=LOOK
        ),
    ] = None
    style_weights: Annotated[
        str | None,
        typer.Option(metavar="X,Y,...", help="The share of each painting, in their order.", rich_help_panel=LOOK),
    ] = None
    init: Annotated[
        str | None,
        typer.Option(
            metavar="KIND|FILE", help="Start from content, style, noise, uniform, or an image file.",
            rich_help_panel=LOOK,
        ),
    ] = None  # fmt: skip
    init_noise: Annotated[
        float | None, typer.Option(metavar="X", help="Share of noise in the start, 0 to 1.", rich_help_panel=LOOK)
    ] = None
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of the noise.", rich_help_panel=LOOK)] = None
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help=f"One of {', '.join(BACKBONES)}.", rich_help_panel=ENGINE)
    ] = None
    pooling: Annotated[
        str | None, typer.Option(metavar="auto|max|average|l2", help="Pooling of the network.", rich_help_panel=ENGINE)
    ] = None
    optimizer: Annotated[
        str | None, typer.Option(metavar="lbfgs|adam", help="How tiles are optimised.", rich_help_panel=ENGINE)
    ] = None
    coupling: Annotated[
        str | None,
        typer.Option(
            metavar="balanced|independent|exact", help="How tiles know of each other.", rich_help_panel=ENGINE
        ),
    ] = None
    tile_size: Annotated[
        str | None,
        typer.Option(
            parser=number_or_word, metavar="PIXELS|auto", help="A tile's side without overlap.", rich_help_panel=ENGINE
        ),
    ] = None
    overlap: Annotated[
        str | None,
        typer.Option(
            parser=number_or_word,
            metavar="PIXELS|auto",
            help="How far a tile reaches into the next.",
            rich_help_panel=ENGINE,
        ),
    ] = None
    device: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N.", rich_help_panel=ENGINE)
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of the convolutions: auto, float32 or bfloat16.", rich_help_panel=ENGINE),
    ] = None

    def sources(self) -> dict[str, Any]:
        """What the preset and the file say; errors as `effective`."""
        return gather(self.config, preset=self.preset)

    def effective(self, styles: Sequence[Path] = (), *, sources: Mapping[str, Any] | None = None) -> Config:
        """The configuration of all sources together; `styles` replace those of the sources below.

        `sources` is what stands in the place of the preset and the file, when it is given.

        Raises:
            ConfigError: an option, a key or a value that does not exist or does not go with the others.
            InputError: the configuration file cannot be read.
        """
        below = dict(self.sources() if sources is None else sources)
        for assignment in self.assignments or ():
            below = assign(below, assignment)
        chosen: dict[str, Any] = {}
        for name, key in _KEYS.items():
            value = getattr(self, name)
            if value is not None:
                section, _, rest = key.partition(".")
                chosen.setdefault(section, {})[rest] = value
        output = {**chosen.get("output", {}), **self._print(below)}
        if output:
            chosen["output"] = output
        if self.init is not None:
            chosen["init"] = {**chosen.get("init", {}), **_start(self.init)}
        if styles or self.style_scale is not None or self.style_weights is not None:
            chosen["styles"] = self._styles(styles, below)
        return parse_config(merge(below, chosen))

    def _print(self, below: Mapping[str, Any]) -> dict[str, Any]:
        """The part of `output` that --print, --dpi, --fit and --bleed set."""
        wanted = {"paper": self.print, "dpi": self.dpi, "fit": self.fit, "bleed_mm": self.bleed}
        given = {key: value for key, value in wanted.items() if value is not None}
        known = below.get("output")
        inherited = isinstance(known, Mapping) and known.get("print") is not None
        if any(value is not None for value in (self.size, self.megapixels, self.scale)):
            inherited = False  # the size on the command line takes the print's place
        if not given or self.print is not None or inherited:
            return {"print": given} if given else {}
        if self.fit is not None or self.bleed is not None:
            option = "--fit" if self.fit is not None else "--bleed"
            raise ConfigError(f"{option} belongs to a print: give its paper too, such as --print A3")
        return {"dpi": self.dpi}

    def _styles(self, paths: Sequence[Path], below: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The paintings with the scale and the weights of the command line."""
        known: list[dict[str, Any]] = below.get("styles") or []
        styles: list[dict[str, Any]] = [{"image": str(path)} for path in paths]
        if not paths:
            if not isinstance(known, list) or not all(isinstance(style, dict) for style in known):
                return known  # the schema says what is wrong with it
            styles = [dict(style) for style in known]
        if self.style_scale is not None:
            styles = [{**style, "scale": self.style_scale} for style in styles]
        if self.style_weights is not None:
            weights = _numbers(self.style_weights)
            if len(weights) != len(styles):
                raise ConfigError(
                    f"--style-weights has {len(weights)} of them for {len(styles)} paintings; give one weight for each"
                )
            styles = [{**style, "weight": weight} for style, weight in zip(styles, weights, strict=True)]
        return styles


_KEYS = {
    "size": "output.long_edge",
    "megapixels": "output.megapixels",
    "scale": "output.scale",
    "bit_depth": "output.bit_depth",
    "quality": "output.quality",
    "model": "model.name",
    "pooling": "model.pooling",
    "content_weight": "loss.content_weight",
    "init_noise": "init.noise",
    "optimizer": "optimizer.name",
    "tile_size": "tiles.size",
    "overlap": "tiles.overlap",
    "coupling": "tiles.coupling",
    "device": "runtime.device",
    "precision": "runtime.precision",
    "seed": "runtime.seed",
}
"""Options that are one key of the configuration."""


def takes_config_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command every option of `ConfigOptions` besides its own; it gets them together, as `options`."""
    hints = typing.get_type_hints(ConfigOptions, include_extras=True)
    own = [p for name, p in inspect.signature(command, eval_str=True).parameters.items() if name != "options"]
    shared = [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(ConfigOptions)
    ]
    parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own] + shared

    @functools.wraps(command)
    def run(**arguments: Any) -> None:
        options = ConfigOptions(**{p.name: arguments.pop(p.name) for p in shared})
        command(options=options, **arguments)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in parameters}
    return run


def takes_options_of(*others: Callable[..., None]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of other commands besides its own; it gets those that were given as `others`.

    They are a mapping from the parameters' names to their values; arguments without a `--` are not taken over.
    """

    def take(command: Callable[..., None]) -> Callable[..., None]:
        own = {n: p for n, p in inspect.signature(command, eval_str=True).parameters.items() if n != "others"}
        more = {
            name: parameter
            for other in others
            for name, parameter in inspect.signature(other).parameters.items()
            if name not in own and _is_option(parameter)
        }

        @functools.wraps(command)
        def run(**arguments: Any) -> None:
            values = {name: arguments.pop(name) for name in more}
            given = {name: value for name, value in values.items() if value != more[name].default}
            command(others=given, **arguments)

        parameters = [*own.values(), *more.values()]
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        return run

    return take


def option_name(command: Callable[..., None], parameter: str) -> str:
    """How a parameter of a command is written: `--retry-wait`."""
    (info,) = inspect.signature(command).parameters[parameter].annotation.__metadata__
    written = info.default  # where Annotated has the first name
    return written.partition("/")[0] if isinstance(written, str) else f"--{parameter.replace('_', '-')}"


def _is_option(parameter: inspect.Parameter) -> bool:
    return any(type(info) is type(typer.Option()) for info in getattr(parameter.annotation, "__metadata__", ()))


def _start(text: str) -> dict[str, Any]:
    """What --init says: a kind of start, or an image file."""
    kinds = [kind for kind in typing.get_args(InitKind) if kind != "file"]
    if text in kinds:
        return {"kind": text, "file": None}
    if not Path(text).is_file():
        raise ConfigError(f"--init: {text!r} is neither an image file nor a kind of start{nearest(text, kinds)}")
    return {"kind": "file", "file": text}


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--style-weights needs numbers with commas between them, such as 2,1, not {text!r}"
        ) from None
