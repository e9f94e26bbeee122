"""Options of commands, made from the configuration's fields: type, choices and help are those of the schema."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from hires_nst.config import field_at

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
    """

    name: str
    key: str | None = None
    panel: str
    metavar: str | None = None
    help: str | None = None
    type: Any = None
    flags: tuple[str, ...] = ()
    value: str | None = None

    @property
    def all_flags(self) -> tuple[str, ...]:
        """The option on the command line: `--retry-wait`."""
        return self.flags or (f"--{self.name.replace('_', '-')}",)

    def parameter(self) -> inspect.Parameter:
        """The option as a parameter of a Typer command."""
        kind, metavar, parser, text = self.type, self.metavar, None, self.help
        if self.key is not None:
            field = field_at(self.key)
            kind, parser, choices = _command_line_type(field.annotation)
            metavar, text = metavar or choices, text or field.description
            if self.value is not None:
                kind, metavar = bool, None
            if get_origin(kind) is list:
                text = f"{text} Repeatable."
        option = typer.Option(*self.all_flags, metavar=metavar, parser=parser, help=text, rich_help_panel=self.panel,
                              readable=False)  # fmt: skip
        annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
        return inspect.Parameter(self.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def number_or_word(text: str) -> int | str:
    """The value of an option that is a whole number or a word such as auto."""
    return int(text) if text.isdecimal() else text


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


def _command_line_type(annotation: Any) -> tuple[Any, Callable[[str], Any] | None, str | None]:
    """An option's type for a field, its parser if it needs one, and its choices such as `cover|contain`.

    The schema checks the value.
    """
    alternatives = list(_alternatives(annotation))
    words = [item for item in alternatives if isinstance(item, (str, int))]
    kinds = [item for item in alternatives if item not in words]
    if not words:
        return kinds[0], None, None
    choices = "|".join(map(str, words))
    return (str, number_or_word, f"N|{choices}") if kinds else (type(words[0]), None, choices)


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
