"""What the sections of the configuration are made of."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, Strict

Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Weight = Annotated[Number, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[Number, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """A part of the configuration: frozen, typed, no unknown keys."""

    # Validators are built when a section is first used, for a quicker start.
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, defer_build=True)


def section_in(annotation: Any) -> type[BaseModel] | None:
    """The section in a field's type, such as `Print` in `Print | None`, if there is one."""
    for candidate in (annotation, *get_args(annotation)):
        # On Python 3.10, `tuple[X, ...]` passes for a class.
        if get_origin(candidate) is None and isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
