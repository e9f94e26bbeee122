"""The order of the packages, read from their imports; who may print; and how long modules and functions may be."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hires_nst"

# From the ground up: a package may import from its own floor and from those below.
FLOORS = (
    ("errors", "events", "files", "processors", "quantities", "stopping", "version"),  # modules of hires_nst itself
    ("backbones", "imageio"),
    ("config",),
    ("gallery", "transfer"),
    ("evaluation", "executors"),
    ("run",),
    ("batch",),
    ("report",),
    ("", "folders"),  # the public API
    ("cli", "__main__"),
)
WITH_TORCH = {
    "backbones.models", "backbones.network", "backbones.own", "backbones.traced", "backbones.tracing", "backbones.vgg",
    "backbones.weight_files", "backbones.weights", "batch.ray_executor", "batch.ray_worker", "evaluation",
    "executors.messages", "executors.opening", "executors.pool", "executors.processes", "executors.ray_crew",
    "executors.worker",
    "run.arrays", "run.cache", "run.canvases", "run.checkpoint", "run.colours", "run.content", "run.context",
    "run.detail",
    "run.estimate", "run.level_objective", "run.painter", "run.plan", "run.precision", "run.regions", "run.restore",
    "run.round_events", "run.round_store",
    "run.single_run", "transfer",
}  # fmt: skip
"""Packages and modules that may import torch; all others are quick to import, as the command line must be."""

MOST_LINES, MOST_FUNCTION_LINES = 450, 60

OVERRIDES = {"make_context", "forward", "backward"}
"""Methods of Click, Typer and torch, which have their own order of arguments."""

HEAVY = {"torch", "torchvision", "safetensors"}


def name_of(file: Path) -> str:
    """`backbones.vgg` of hires_nst/backbones/vgg.py, and the empty name of the package itself."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix(".")


FILES = {name_of(file): file for file in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def import_statements(node: ast.AST, *, inside_functions: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """Those that run; what stands under `if TYPE_CHECKING` never does."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from import_statements(other, inside_functions=inside_functions)
        elif inside_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from import_statements(child, inside_functions=inside_functions)


def imported_names(module: str, *, inside_functions: bool) -> Iterator[str]:
    """The modules that a module imports, by full name: `from hires_nst import events` gives `hires_nst.events`."""
    for statement in import_statements(tree(module), inside_functions=inside_functions):
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
            continue
        assert statement.level == 0, f"{module} has a relative import"
        assert statement.module is not None
        for alias in statement.names:
            inner = f"{statement.module}.{alias.name}"
            yield inner if inner.removeprefix("hires_nst.") in FILES else statement.module


@cache
def own_imports(module: str, *, inside_functions: bool = False) -> frozenset[str]:
    """The modules of this package that a module imports."""
    names = imported_names(module, inside_functions=inside_functions)
    own = {name.removeprefix("hires_nst").removeprefix(".") for name in names if name.split(".")[0] == "hires_nst"}
    return frozenset(own - {module})


@cache
def foreign_imports(module: str) -> frozenset[str]:
    """The top-level packages of others that are imported with a module."""
    names = {name.split(".")[0] for name in imported_names(module, inside_functions=False)}
    return frozenset(names - {"hires_nst"})


def everything_below(module: str) -> set[str]:
    """A module and all that is imported with it, the packages that it lies in included."""
    found: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        found.add(name)
        parents = {".".join(name.split(".")[:length]) for length in range(len(name.split(".")))}
        waiting |= (own_imports(name) | parents) - found
    return found


def floor_of(module: str) -> int:
    package = module.partition(".")[0]
    return next(index for index, floor in enumerate(FLOORS) if package in floor)


def may_import_torch(module: str) -> bool:
    return module in WITH_TORCH or module.partition(".")[0] in WITH_TORCH


def test_every_package_has_its_floor() -> None:
    found = {module.partition(".")[0] for module in FILES}
    assert found == {name for floor in FLOORS for name in floor}, "give a new package its floor"
    assert len(FLOORS) <= 10


@pytest.mark.parametrize("module", FILES)
def test_imports_run_downwards(module: str) -> None:
    above = {name for name in own_imports(module, inside_functions=True) if floor_of(name) > floor_of(module)}
    assert not above


def test_no_module_imports_itself_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a circle: {' -> '.join((*path, module))}"
        if module not in done:
            for name in sorted(own_imports(module, inside_functions=True)):
                visit(name, (*path, module))
            done.add(module)

    for module in FILES:
        visit(module, ())


@pytest.mark.parametrize("module", [name for name in FILES if not may_import_torch(name)])
def test_torch_is_not_imported_by(module: str) -> None:
    assert not [name for name in everything_below(module) if foreign_imports(name) & HEAVY]


def test_torch_is_not_there_after_these_imports() -> None:
    modules = [
        f"hires_nst.{name}".rstrip(".") for name in FILES if not may_import_torch(name) and "__main__" not in name
    ]
    code = f"import sys, {', '.join(modules)}; print(sorted({HEAVY!r} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=environment, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("module", [name for name in FILES if not name.startswith(("cli", "__main__"))])
def test_only_the_command_line_prints_and_exits(module: str) -> None:
    forbidden = {"print", "input", "exit", "quit", "breakpoint", "sys.exit", "os._exit", "sys.stdout", "sys.stderr"}
    names = [ast.unparse(node) for node in ast.walk(tree(module)) if isinstance(node, (ast.Call, ast.Attribute))]
    assert not forbidden & {name.partition("(")[0] for name in names}


def public_definitions(node: ast.Module | ast.ClassDef, place: str) -> Iterator[tuple[str, str | None]]:
    """Functions, classes and methods without an underscore, with their docstrings."""
    for child in node.body:
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not child.name.startswith("_"):
            yield f"{place}.{child.name}", ast.get_docstring(child)
            if isinstance(child, ast.ClassDef):
                yield from public_definitions(child, f"{place}.{child.name}")


@pytest.mark.parametrize("module", FILES)
def test_what_is_public_has_a_docstring(module: str) -> None:
    found = [(module, ast.get_docstring(tree(module))), *public_definitions(tree(module), module)]
    assert not [name for name, text in found if not text]


def functions_of(module: str) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every function of a module, and whether it is a method with `self` or `cls`."""
    methods = {
        function
        for node in ast.walk(tree(module))
        if isinstance(node, ast.ClassDef)
        for function in node.body
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not any(ast.unparse(decorator) == "staticmethod" for decorator in function.decorator_list)
    }
    for node in ast.walk(tree(module)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node, node in methods


def is_command(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether Typer calls it: its parameters are a list of options, which it passes by name."""
    parameters = (*function.args.args, *function.args.kwonlyargs)
    return any(
        p.annotation is not None and ("typer." in ast.unparse(p.annotation) or p.arg == "json") for p in parameters
    )


@pytest.mark.parametrize("module", FILES)
def test_modules_and_functions_are_short(module: str) -> None:
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    long = [
        f.name for f, _ in functions_of(module)
        if (f.end_lineno or 0) - (f.body[0].lineno if is_command(f) else f.lineno) >= MOST_FUNCTION_LINES
    ]  # fmt: skip
    assert not long


@pytest.mark.parametrize("module", FILES)
def test_arguments_after_the_second_are_given_by_name(module: str) -> None:
    many = [
        f.name
        for f, is_method in functions_of(module)
        if len(f.args.posonlyargs) + len(f.args.args) - is_method > 2
        and not is_command(f)
        and not (f.name.startswith("__") and f.name != "__init__")
        and f.name not in OVERRIDES
    ]
    assert not many


@pytest.mark.parametrize("module", [name for name in FILES if name != "transfer.tiles"])  # Rect: four coordinates
def test_records_of_many_fields_are_made_by_name(module: str) -> None:
    positional = []
    for node in ast.walk(tree(module)):
        decorators = [ast.unparse(d) for d in node.decorator_list] if isinstance(node, ast.ClassDef) else []
        if isinstance(node, ast.ClassDef) and any("dataclass" in d for d in decorators):
            fields = [f for f in node.body if isinstance(f, ast.AnnAssign) and "init=False" not in ast.unparse(f)]
            by_name = any("kw_only" in d for d in decorators) or any("KW_ONLY" in ast.unparse(f) for f in fields)
            if len(fields) > 3 and not by_name:
                positional.append(node.name)
    assert not positional
