"""The errors of a configuration, found by pydantic, in one sentence of plain words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from hires_nst.config.sections import section_in
from hires_nst.errors import nearest


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
    return _problem(place, places[place], schema=schema) + more


def _problem(place: str, branches: Sequence[Any], *, schema: type[BaseModel]) -> str:
    """The problem of one key; `branches` has an entry for each type that its value may have."""
    first = branches[0]
    if first["type"] == "extra_forbidden":
        parent, _, key = place.rpartition(".")
        elsewhere = [f"{section}.{key}" for section in schema.model_fields if key in _known_keys((section,), schema)]
        hint = nearest(key, _known_keys(first["loc"][:-1], schema))
        if elsewhere and not parent:
            hint = f"; did you mean {' or '.join(map(repr, elsewhere))}?"
        return f"unknown key {key!r}{f' in {parent}' if parent else ''}{hint}"
    if first["type"] == "missing":
        return f"{place} is missing"
    if first["type"] == "value_error":
        message = str(first["ctx"]["error"])
        return f"{place}: {message}" if place else message
    expected = [_MESSAGES.get(branch["type"], branch["msg"]).removeprefix("Input should be ") for branch in branches]
    value = first["input"]
    given = ""
    if value is None or isinstance(value, (str, int, float)):
        given = f", not {str(value).lower() if isinstance(value, bool) else repr(value)}"
    return f"{place or 'the configuration'} should be {' or '.join(expected)}{given}"


_MESSAGES = {
    "model_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "invalid_key": "a mapping whose keys are words",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "path_type": "the path of a file",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
}


def _place(location: tuple[int | str, ...]) -> str:
    """The dotted key of a problem, without the parts that name a branch of a union rather than a key."""
    branches = ("int", "float", "str", "constrained-int", "constrained-float", "[key]")
    return ".".join(
        str(part) for part in location if str(part) not in branches and not str(part).startswith("literal[")
    )


def _known_keys(location: tuple[int | str, ...], schema: type[BaseModel]) -> list[str]:
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
