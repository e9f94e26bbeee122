"""Options of commands, made from the configuration's fields: type, choices and help are those of the schema."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from hires_nst.config import check_option, field_at
from hires_nst.errors import ConfigError, suggestion

Command = Callable[..., None]
Decorator = Callable[[Command], Command]


@dataclass(frozen=True, kw_only=True)
class ConfigOption:
    """An option that sets a part of the configuration; its value is None when it is not given.

    Attributes:
        name: of the command's parameter; the option is `--name` without `flags`.
        key: the dotted key that it sets, whose description and type it takes over.
        help: instead of the key's description.
        type: of an option that is not one key.
        metavar: instead of the field's choices.
        value: of a flag that sets the key to one of its choices.
        repeatable: of an option that is one key, whose field takes one value or a list.
        unit, advice: of an option that is one key, see `checked`.
        parser: of an option that is not one key.
    """

    name: str
    key: str | None = None
    panel: str
    metavar: str | None = None
    help: str | None = None
    type: Any = None
    flags: tuple[str, ...] = ()
    value: str | None = None
    repeatable: bool = False
    unit: str = ""
    advice: Callable[[str], str | None] = lambda text: None
    parser: Callable[[str], Any] | None = None

    @property
    def all_flags(self) -> tuple[str, ...]:
        """The option on the command line: `--retry-wait`."""
        return self.flags or (f"--{self.name.replace('_', '-')}",)

    def parameter(self) -> inspect.Parameter:
        """The option as a parameter of a Typer command."""
        kind, metavar, parser, text = self.type, self.metavar, self.parser, self.help
        if self.key is not None:
            field = field_at(self.key)
            kind, choices = _command_line_type(field.annotation)
            metavar, text = metavar or choices, text or field.description
            if self.value is not None:
                kind, metavar = bool, None
            if get_origin(kind) is list:
                text = f"{text} Repeatable."
            elif kind is not bool:
                parser = checked(self.key, self.all_flags[0], unit=self.unit, advice=self.advice)
            if self.repeatable:
                kind, text = list[kind], f"{text} Repeatable."  # type: ignore[valid-type]
        option = typer.Option(*self.all_flags, metavar=metavar, parser=parser, help=text, rich_help_panel=self.panel,
                              readable=False)  # fmt: skip
        annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


Parser = Callable[[str], Any]


def checked(
    key: str, option: str, *, unit: str = "", advice: Callable[[str], str | None] = lambda text: None
) -> Parser:
    """A parser for an option of a dotted key; it raises ConfigError where the schema does not allow the value.

    Args:
        unit: that may follow a number.
        advice: what to do about a text that is no value, if the function knows; with `{option}` for the option's name.
    """
    kinds = list(_alternatives(field_at(key).annotation))
    is_number = any(kind in (int, float) or isinstance(kind, int) for kind in kinds)

    def read(text: str) -> Any:
        value = number_or_word(text, unit=unit) if is_number else text
        value = float(value) if float in kinds and isinstance(value, int) else value
        check_option(key, value, option=option, text=text)
        return value

    def parse(text: str) -> Any:
        try:
            return read(text)
        except ConfigError as error:
            if (way_out := advice(text) or with_a_point(text, read)) is None:
                raise
            message = str(error).partition("; for example")[0]
            raise ConfigError(f"{message}; {way_out.format(option=option)}") from None

    return parse


_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]{1,9})?", re.IGNORECASE)


def number_or_word(text: str, *, unit: str = "") -> float | str:
    """The number that a text is, with the unit or without; other texts are returned as they are."""
    number = text.strip()
    if unit and number.lower().endswith(unit.lower()):
        number = number[: -len(unit)].strip()
    if _WHOLE.fullmatch(number):
        return int(number)
    return float(number) if _DECIMAL.fullmatch(number) else text


def with_a_point(text: str, read: Parser) -> str | None:
    """The advice for a number with a decimal comma, if `read` takes it with a point."""
    number = text.strip().replace(",", ".")
    if not re.fullmatch("[0-9]*,[0-9]+", text.strip()):
        return None
    try:
        value = read(number)
    except ConfigError:
        return None
    return None if isinstance(value, str) else f"write {{option}} {number}"


def choice(option: str, choices: Sequence[str]) -> Parser:
    """A parser for an option of a few words; it raises ConfigError for others."""

    def parse(text: str) -> str:
        if text not in choices:
            *first, last = choices
            hint = suggestion(text, choices) or f"; for example {option} {last}"
            raise ConfigError(f"{option} should be {', '.join(first)} or {last}, not {text!r}{hint}")
        return text

    return parse


def parameters_of(command: Command, *, without: str = "") -> list[inspect.Parameter]:
    """The parameters of a command, all keyword-only, except one."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    return [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters if p.name != without]


def is_option(parameter: inspect.Parameter) -> bool:
    """Whether a parameter of a command is an option, not an argument."""
    return any(type(info) is type(typer.Option()) for info in getattr(parameter.annotation, "__metadata__", ()))


def flag_of(parameter: inspect.Parameter) -> str:
    """An option on the command line: `--retry-wait`."""
    (info,) = parameter.annotation.__metadata__
    first = info.default  # in Annotated, this is the first flag
    return first.partition("/")[0] if isinstance(first, str) else f"--{parameter.name.replace('_', '-')}"


def with_parameters(run: Command, parameters: Sequence[inspect.Parameter], *, like: Command) -> Command:
    """`run` with the name and the docstring of the command `like`, and with these parameters for Typer."""
    result = functools.wraps(like)(run)
    result.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    result.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return result


def _command_line_type(annotation: Any) -> tuple[Any, str | None]:
    """An option's type for a field, and its choices such as `cover|contain`."""
    alternatives = list(_alternatives(annotation))
    words = [item for item in alternatives if isinstance(item, (str, int))]
    kinds = [item for item in alternatives if item not in words]
    if not words:
        return kinds[0], None
    choices = "|".join(map(str, words))
    return (str, f"N|{choices}") if kinds else (type(words[0]), choices)


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The possible types of a field except None, with lists for tuples, and the values of a `Literal`."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _alternatives(inner[0])
    elif origin in (Union, UnionType):
        for alternative in inner:
            yield from _alternatives(alternative)
    elif origin is Literal:
        yield from inner
    elif origin is tuple:
        yield list[inner[0]]  # type: ignore[valid-type]
    elif annotation is not NoneType:
        yield annotation
