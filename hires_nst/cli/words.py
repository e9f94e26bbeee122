"""Options of other programs of this kind on the command line, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from hires_nst.cli.options import BATCH_OPTIONS, CONFIG_OPTIONS
from hires_nst.config import field_at
from hires_nst.config.messages import example
from hires_nst.config.words import KEYS, OTHERWISE
from hires_nst.errors import ConfigError

FLAGS = {
    **{option.key: option.all_flags[0] for option in (*BATCH_OPTIONS, *CONFIG_OPTIONS) if option.key is not None},
    "init.kind": "--init",
    "styles.image": "--style",
    "styles.mask": "--mask",
    "styles.weight": "--style-weights",
    "output.dpi": "--dpi",
}
"""The option of each key that has one."""
SAME = ("output.long_edge", "levels.coarse_steps", "levels.min_size")
"""Keys whose values mean the same in other programs."""


def refuse_other_words(words: Sequence[str], command: Any) -> None:
    """Raise ConfigError for an option that another program has and this one does not, or that has one dash too few.

    Args:
        words: of the whole command line.
        command: the program, a Click group.
    """
    named = next((command.commands[word] for word in words if word in command.commands), None)
    own = {"-h", "--help", *_own(command), *_options(named or command.commands["stylize"])}
    for word, following in zip(words, [*words[1:], ""], strict=False):
        option, _, value = word.partition("=")
        if word == "--":
            return
        if (
            option.startswith("-")
            and option not in own
            and (advice := advice_on(option, own, value=value or following)) is not None
        ):
            raise ConfigError(f"there is no option {option}; {advice}")


def advice_on(option: str, own: Collection[str], *, value: str = "") -> str | None:
    """What to write in place of an unknown option, where that is known.

    Args:
        own: the options that there are.
        value: of the unknown option, if it has one.
    """
    name = option.lstrip("-").replace("-", "_").lower()
    flag = f"--{name.replace('_', '-')}"
    if len(name) > 1 and flag in own:
        return f"write {flag}"
    if name in KEYS and FLAGS.get(KEYS[name], "--set") in own:
        return f"write {written(KEYS[name], value)}"
    return OTHERWISE.get(name)


def written(key: str, given: str = "") -> str:
    """A key as an option with an example of its value: `--size 2048`, or `--set levels.rounds=16`.

    The example is the value `given`, if it can be one and means the same in other programs, as sizes and numbers of
    steps do; weights and rates do not.
    """
    value = given if key in SAME and re.fullmatch("[1-9][0-9]{1,4}", given) else example(field_at(key))
    return f"{FLAGS[key]} {value}" if key in FLAGS else f"--set {key}={value}"


def _options(command: Any) -> Iterator[str]:
    """The options of a command and of the commands inside it."""
    yield from _own(command)
    for inner in getattr(command, "commands", {}).values():
        yield from _options(inner)


def _own(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (*parameter.opts, *parameter.secondary_opts)
