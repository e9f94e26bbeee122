"""The errors of a configuration, found by pydantic, in one sentence of plain words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from hires_nst.config.section import section_in
from hires_nst.config.words import KEYS
from hires_nst.errors import ConfigError, nearest, suggestion

LONGEST_VALUE = 60
"""Characters of a value that a message quotes."""


def sentence(error: ValidationError, schema: type[BaseModel]) -> str:
    """The first problem of a validation against `schema` as one sentence."""
    problems = error.errors(include_url=False)
    places: dict[str, list[Any]] = {}
    for problem in problems:
        places.setdefault(_place(problem["loc"]), []).append(problem)
    # An unknown key comes first: it is often the reason why another one is missing.
    unknown = [place for place, found in places.items() if found[0]["type"] == "extra_forbidden"]
    place = (unknown or list(places))[0]
    more = f" (and {len(places) - 1} more)" if len(places) > 1 else ""
    return _problem(place, places[place][0], schema=schema) + more


def _problem(place: str, problem: Any, *, schema: type[BaseModel]) -> str:
    """The problem of one key."""
    location, value = problem["loc"], problem["input"]
    if problem["type"] == "extra_forbidden":
        return _unknown_key(problem, schema=schema)
    if problem["type"] == "value_error":
        message = str(problem["ctx"]["error"])
        return f"{place}: {message}" if place else message
    text = in_yaml([str(part) for part in location if not _is_branch(part) and not isinstance(part, int)], schema)
    hint = f"; for example {text}" if text else ""
    if problem["type"] == "missing":
        return f"{place} is missing{hint}"
    if problem["type"] == "invalid_key":
        inside = f" in {place.rpartition('.')[0]}" if "." in place else ""
        return f"the key {quoted(value)}{inside} is no word; decimals are written with a point, such as 0.4"
    wanted = expected(_type_at(location, schema))
    return f"{place or 'the configuration'} should be {wanted}, not {quoted(value)}{hint}"


def check_value(key: str, value: Any, *, option: str, text: str | None = None, schema: type[BaseModel]) -> None:
    """Raise ConfigError, with the name of the option, where a value is not what a dotted key of `schema` takes.

    `text` is the value as it was typed.
    """
    *parents, name = key.split(".")
    section = schema
    for parent in parents:
        section = section_in(section.model_fields[parent].annotation) or section
    try:
        section.model_validate({name: value})
    except ValidationError as error:
        own = [problem for problem in error.errors(include_url=False) if problem["loc"][:1] == (name,)]
        if not own:
            return
        if own[0]["type"] == "value_error":
            raise ConfigError(f"{option}: {own[0]['ctx']['error']}") from None
        field = section.model_fields[name]
        given, wanted = example(field), expected(typed(field)).removesuffix(" or a list")  # an option is repeated
        raise ConfigError(
            f"{option} should be {wanted}, not {quoted(value if text is None else text)}"
            f"{given and f'; for example {option} {given}'}"
        ) from None


def _unknown_key(problem: Any, *, schema: type[BaseModel]) -> str:
    """The sentence about a key that does not exist, with the one that was probably meant and how to write it."""
    *sections, key = map(str, problem["loc"])
    parent = ".".join(sections)
    known = _known_keys(problem["loc"][:-1], schema)
    hint, meant = suggestion(key, known), KEYS.get(key.replace("-", "_").lower())
    elsewhere = [f"{section}.{key}" for section in schema.model_fields if key in _known_keys((section,), schema)]
    if key == "preset" and not parent:
        return "unknown key 'preset'; a preset is given on the command line: --preset draft"
    if "." in key and in_yaml(key.split("."), schema):
        return f"unknown key {key!r}; write {in_yaml(key.split('.'), schema)}"
    elif meant is not None and (not hint or parent in ("", meant.rpartition(".")[0])):
        elsewhere = [meant]
    elif hint and (parent or isinstance(problem["input"], dict)):  # a mapping is a section
        elsewhere = []
    if elsewhere:
        written = ((repr(one), in_yaml(one.split("."), schema)) for one in elsewhere)
        hint = f"; did you mean {' or '.join(f'{one}, written {text}' if text else one for one, text in written)}?"
    return f"unknown key {key!r}{f' in {parent}' if parent else ''}{hint or nearest(key, known)}"


def in_yaml(keys: Sequence[str], schema: type[BaseModel]) -> str:
    """How a key inside of sections is written in YAML with an example of its value: `output: {long_edge: 2048}`.

    Empty where there is no example or no such key.
    """
    *parents, last = keys or [""]
    field = _field_at(keys, schema)
    if field is None or last not in _known_keys(parents, schema) or not (text := example(field)):
        return ""
    text = f"{last}: {text}"
    for number, name in reversed(list(enumerate(parents))):
        section = _field_at(parents[: number + 1], schema)
        is_list = section is not None and get_origin(section.annotation) is tuple
        text = f"{name}: [{{{text}}}]" if is_list else f"{name}: {{{text}}}"
    return text


def expected(kind: Any, limits: Sequence[Any] = ()) -> str:
    """What a value of that type may be, in words: `a whole number from 1 to 100`, `8 or 16`."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return expected(inner[0], (*limits, *inner[1:]))
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(expected(one) for one in inner if one is not NoneType))
    if origin is Literal:
        *first, last = map(str, inner)
        return f"{', '.join(first)} or {last}" if first else last
    if kind in (int, float):
        return ("a whole number" if kind is int else "a number") + _range(limits, is_whole=kind is int)
    if section_in(kind) is kind or origin is dict:
        return "a mapping of keys to values"
    words = {bool: "true or false", str: "text", Path: "the path of a file"}
    return "a list" if origin is tuple else words.get(kind, "something else")


def _range(limits: Sequence[Any], *, is_whole: bool) -> str:
    """The range of a number in words, from pydantic's limits."""
    found: dict[str, float] = {}
    for limit in (part for one in limits for part in (one.metadata if isinstance(one, FieldInfo) else [one])):
        found |= {name: value for name in ("ge", "gt", "le", "lt") if (value := getattr(limit, name, None)) is not None}
    if is_whole and "lt" in found:
        found["le"] = found.pop("lt") - 1
    text = {name: f"{value:g}" if value < 1e6 else f"{value}" for name, value in found.items()}
    if "ge" in text:
        return f" from {text['ge']} to {text['le']}" if "le" in text else f" of at least {text['ge']}"
    if "gt" in text:
        return f" above {text['gt']}" + (f" and up to {text['le']}" if "le" in text else "")
    return ""


def example(field: FieldInfo) -> str:
    """A value of a field in YAML and on the command line; empty where there is none in a few words."""
    section = section_in(field.annotation)
    if section is not None:
        texts = ((name, example(one)) for name, one in section.model_fields.items())
        first = next((f"{{{name}: {text}}}" for name, text in texts if text), "")
        return f"[{first}]" if first and get_origin(field.annotation) is tuple else first
    value = field.examples[0] if field.examples else field.get_default()
    if isinstance(value, dict) and value:
        return f"{{{', '.join(f'{key}: {number:g}' for key, number in list(value.items())[:1])}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if re.fullmatch("[a-zA-Z0-9._/:-]+", value) else f'"{value}"'
    return f"{value:g}" if isinstance(value, (int, float)) and value < 1e6 else ""


def quoted(value: Any) -> str:
    """A value as a message quotes it: text in quotes, words of YAML without, shortened."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 10]}...{text[-5:]}"


def _place(location: tuple[int | str, ...]) -> str:
    """The dotted key of a problem, without the parts that name a branch of a union rather than a key."""
    return ".".join(str(part) for part in location if not _is_branch(part))


def _is_branch(part: int | str) -> bool:
    branches = ("int", "float", "str", "constrained-int", "constrained-float", "[key]")
    return str(part) in branches or str(part).startswith(("literal[", "tuple[", "lax-or-strict["))


def _field_at(location: Sequence[int | str], schema: type[BaseModel]) -> FieldInfo | None:
    """The last field on the way to a location."""
    section: type[BaseModel] | None = schema
    field = None
    for part in location:
        if section is not None and part in section.model_fields:
            field = section.model_fields[str(part)]
            section = section_in(field.annotation)
    return field


def _type_at(location: Sequence[int | str], schema: type[BaseModel]) -> Any:
    """The type of the value at a location, with its limits; None where the schema does not say."""
    kind: Any = schema
    for part in (part for part in location if not _is_branch(part)):
        section = section_in(kind)
        if isinstance(part, int):
            kind = section or get_args(kind)[0]
        elif section is not None and part in section.model_fields:
            kind = typed(section.model_fields[part])
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        else:
            return None
    return kind


def typed(field: FieldInfo) -> Any:
    """The type of a field with its limits."""
    kind: Any = field.annotation
    for limit in field.metadata:
        kind = Annotated[kind, limit]
    return kind


def _known_keys(location: Sequence[int | str], schema: type[BaseModel]) -> list[str]:
    """The keys of the section at `location`; none where there is no section."""
    model: type[BaseModel] | None = schema
    for part in location:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part) if model else None
        if field is None:
            return []
        model = section_in(field.annotation)
    return list(model.model_fields) if model else []
