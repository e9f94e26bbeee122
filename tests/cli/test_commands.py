from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from hires_nst import cli, events
from hires_nst.config import SCHEMA_FILE, Config, load_config, parse_yaml
from hires_nst.errors import InputError, ResourceError, WeightsError
from hires_nst.imageio.writing import check_output
from hires_nst.run import prepare
from hires_nst.run.directory import run_directory
from hires_nst.run.output_file import names_folder, output_file
from hires_nst.version import VERSION

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path) -> Result:
    try:
        runner = CliRunner(mix_stderr=False)  # type: ignore[call-arg]  # older ones mix unless set
    except TypeError:
        runner = CliRunner()
    return runner.invoke(cli.app, [str(argument) for argument in arguments])


def program(*arguments: str | Path, code: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in a process of its own; or `code`, with the arguments in sys.argv."""
    start = ["-c", code] if code else ["-m", "hires_nst"]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": paths, **environment},
    )  # fmt: skip


# A stand-in for the engine.


@dataclass
class Engine:
    """Makes the checks of images and output, records what it is asked for, and fails on request."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    error: BaseException | None = None

    def stylize(
        self, content: Path, output: Path | str, *, config: Config, overwrite: bool, on_event: Any, **others: Any
    ) -> Any:
        makes_folder = names_folder(output)
        output = output_file(output, content, styles=[style.path for style in config.styles])
        prepare.check_images(content, config)
        options = prepare.RunOptions(
            content=content, output=output, config=config, overwrite=overwrite,
            run_dir=run_directory(output, config, run_dir=others["run_dir"]), makes_folder=makes_folder,
        )  # fmt: skip
        prepare.check_output(options, resume=others["resume"])
        self.calls.append({"content": content, "output": output, "config": config, "overwrite": overwrite, **others})
        levels = ((20, 10, 1, 4, 1),)
        on_event(
            events.RunStarted(
                content=str(content),
                output=str(output),
                width=20,
                height=10,
                levels=levels,
                pixel_evaluations=800.0,
                model="vgg19-slim",
                device="cpu",
                styles=tuple(str(one.image) for one in config.paintings),
            )
        )
        on_event(events.LevelStarted(index=0, count=1, width=20, height=10, rounds=1, steps=4, tiles=1))
        if self.error is not None:
            raise self.error
        on_event(events.RunFinished(output=str(output), width=20, height=10, seconds=1.5))
        return types.SimpleNamespace(output=output, width=7016, height=4961, seconds=754.0)

    def plan(
        self, content: Path, *, output: str | None, overwrite: bool, config: Config, measure: bool, on_event: Any
    ) -> Any:
        prepare.check_images(content, config)
        if output is not None:
            file = output_file(output, content, styles=[style.path for style in config.styles])
            inputs = (content, *config.pictures)
            check_output(file, overwrite=overwrite, inputs=inputs, makes_folder=names_folder(output))
        self.calls.append({"content": content, "config": config, "measure": measure})
        on_event(events.Notice("slow here"))
        return PlanStandIn(seconds=3700.0 if measure else None)


@dataclass(frozen=True)
class LevelStandIn:
    index: int = 0
    width: int = 400
    height: int = 300
    rounds: int = 4
    steps: int = 8
    tiles: int = 6
    tile_size: int = 256
    window_height: int = 352
    window_width: int = 320
    skipped: bool = False
    evaluations = 32


@dataclass(frozen=True)
class PlanStandIn:
    seconds: float | None
    width: int = 4961
    height: int = 3508
    levels: tuple[LevelStandIn, ...] = (LevelStandIn(), LevelStandIn(index=1, width=800, height=600))
    model: str = "vgg19-slim"
    device: str = "cpu"
    precision: str = "float32"
    canvas_bytes: int = 626_000_000
    canvas_place: str = "disk"
    canvas_folder: str | None = "/var/tmp"
    tile_bytes: int = 1_500_000_000
    available_bytes: int = 8_000_000_000
    run_bytes: int = 900_000_000
    output_bytes: int = 52_000_000
    photograph: str = "is enlarged 4 times"
    cropped: float = 0.0
    enlarged: float = 4.0
    seconds_per_megapixel: float | None = 1.25
    notes: tuple[str, ...] = ("slow here",)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    import hires_nst

    result = Engine()
    for name in ("stylize", "plan"):
        monkeypatch.setattr(hires_nst, name, getattr(result, name), raising=False)
    return result


def picture_file(path: Path) -> Path:
    """A file that is taken for a picture until it is read."""
    path.write_bytes(b"\xff\xd8\xff\xe0")  # as a JPEG begins
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A photograph and a painting that exist, and a result that does not."""
    photo, painting = (picture_file(tmp_path / name) for name in ("photo.jpg", "painting.jpg"))
    return photo, painting, tmp_path / "out.png"


# Everything is documented.


def walk(command: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield name, command
    for child, subcommand in getattr(command, "commands", {}).items():
        yield from walk(subcommand, (*name, child))


COMMANDS = dict(walk(typer.main.get_command(cli.app)))


def test_the_commands() -> None:
    assert {" ".join(name) for name, command in COMMANDS.items() if not hasattr(command, "commands")} == {
        "stylize", "plan", "batch", "resume", "status", "report", "evaluate", "show", "doctor",
        "config init", "config show", "config validate", "config schema",
        "models list", "models fetch", "models import", "models verify", "styles list",
    }  # fmt: skip


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_every_command_and_option_is_documented(name: tuple[str, ...]) -> None:
    command = COMMANDS[name]
    assert (command.help or "").strip().endswith((".", "`."))
    for parameter in command.params:
        assert (getattr(parameter, "help", "") or "").strip(), f"{name}: {parameter.name} has no help"
    result = run(*name, "--help")
    assert result.exit_code == 0
    assert "Usage" in result.output


def test_no_option_of_the_configuration_has_a_default() -> None:
    for parameter in COMMANDS[("config", "show")].params:
        if parameter.name != "help":
            assert parameter.default is None, parameter.name


# The start of the program.

WITHOUT_TORCH = """
import sys
from hires_nst.cli import main
try:
    main()
except SystemExit as stop:
    loaded = [name for name in ("torch", "torchvision", "numpy") if name in sys.modules]
    print(f"exit {stop.code or 0}, loaded {loaded}")
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["stylize", "--help"], 0),
        (["config", "validate", "{file}"], 0),
        (["config", "show", "--preset", "draft"], 0),
        (["plan", "{file}.none", "{file}.none"], 3),
        (["models", "fetch", "vgg18"], 2),
    ],
)
def test_torch_is_not_loaded_before_it_is_needed(tmp_path: Path, arguments: list[str], code: int) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("levels: {rounds: 3}\n")
    done = program(*(argument.format(file=file) for argument in arguments), code=WITHOUT_TORCH)
    assert done.stdout.endswith(f"exit {code}, loaded []\n"), done.stderr


def test_the_program_as_a_process(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("levels: {rouns: 3}\n")
    done = program("config", "validate", file)
    assert done.returncode == 2
    assert done.stderr == "error: unknown key 'rouns' in levels; did you mean 'rounds'?\n"
    assert done.stdout == ""
    done = program("config", "validate", file, HIRES_NST_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_version() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout == f"hires-nst {VERSION}\n"


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["stylize"], ["batch", "a", "b"], ["plan", "--x"]],
)
def test_usage_errors(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["batch", "a", "b", "--json"], "Missing option '--output'"),
        (["stylize", "--json", "a", "b", "-o", "c.png", "--sise", "3"], "No such option: --sise"),
        (["nonsense", "--json"], "No such command 'nonsense'"),
        (["--json"], "No such option: --json"),
    ],
)
def test_usage_errors_as_json(arguments: list[str], sentence: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr
    reported = json.loads(result.stdout)
    assert (reported["event"], reported["exit_code"], sentence in reported["message"]) == ("Error", 2, True), reported


# stylize.


def test_stylize(engine: Engine, pictures: tuple[Path, Path, Path]) -> None:
    photo, painting, out = pictures
    result = run("stylize", photo, painting, "-o", out, "--print", "A2", "--style-scale", "0.5", "--seed", "4")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{out}: 7016 x 4961 px (59.4 x 42.0 cm at 300 dpi) in 12 min 34 s\n"
    assert "level 1/1: 20 x 10 px" in result.stderr
    (call,) = engine.calls
    assert (call["content"], call["output"], call["overwrite"]) == (photo, out, False)
    assert [(style.image, style.scale) for style in call["config"].styles] == [(painting, 0.5)]
    assert call["config"].runtime.seed == 4


def test_stylize_with_styles_of_a_file(engine: Engine, pictures: tuple[Path, Path, Path], tmp_path: Path) -> None:
    photo, painting, out = pictures
    (tmp_path / "c.yaml").write_text("styles: [{image: painting.jpg}]\n")
    assert run("stylize", photo, "-o", out, "-c", tmp_path / "c.yaml").exit_code == 0
    other = picture_file(tmp_path / "other.jpg")
    assert run("stylize", photo, other, other, "-o", out, "-c", tmp_path / "c.yaml").exit_code == 0
    assert [[s.image for s in call["config"].styles] for call in engine.calls] == [[painting], [other, other]]


def test_stylize_quiet(engine: Engine, pictures: tuple[Path, Path, Path]) -> None:
    result = run("stylize", *pictures[:2], "-o", pictures[2], "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_stylize_json(engine: Engine, pictures: tuple[Path, Path, Path]) -> None:
    result = run("stylize", *pictures[:2], "-o", pictures[2], "--json")
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == [
        "RunStarted",
        "LevelStarted",
        "RunFinished",
    ]
    assert result.stderr == ""


def test_overwrite(engine: Engine, pictures: tuple[Path, Path, Path]) -> None:
    photo, painting, out = pictures
    out.write_text("here")
    result = run("stylize", photo, painting, "-o", out)
    assert (result.exit_code, engine.calls) == (2, [])
    assert str(out) in result.stderr
    assert run("stylize", photo, painting, "-o", out, "--overwrite").exit_code == 0
    assert engine.calls[0]["overwrite"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["{dir}/none.jpg", "{painting}"], 3, "none.jpg does not exist"),
        (["{photo}", "{dir}"], 3, "is a folder; name the pictures in it"),
        (["{photo}"], 2, "no painting given: name one"),
        (["{photo}", "{painting}", "--set", "levels.rouns=3"], 2, "did you mean 'rounds'?"),
        (["{photo}", "{painting}", "--size", "0"], 2, "--size should be a whole number from 1 to 500000, not '0'"),
        (["{photo}", "{painting}", "--set", "loss.style_layers={{conv9_1: 1}}"], 2, "has no layer 'conv9_1'"),
        (
            ["{photo}", "{painting}", "--preset", "nice"],
            2,
            "--preset should be default, draft, better, best, print or gatys",
        ),
        (["{photo}", "{painting}", "--config", "{dir}/none.yaml"], 3, "none.yaml does not exist"),
        (["{photo}", "{painting}", "-o", "{dir}/out.gif"], 2, "out.gif does not end in one of"),
        (["{photo}", "{painting}", "-o", "{dir}/no/out.png"], 2, "does not exist"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_errors_before_the_engine(
    engine: Engine, pictures: tuple[Path, Path, Path], arguments: list[str], code: int, sentence: str, as_json: bool
) -> None:
    photo, painting, out = pictures
    names = {"dir": photo.parent, "photo": photo, "painting": painting}
    filled = [argument.format(**names) for argument in arguments]
    if "-o" not in filled:
        filled += ["-o", str(out)]
    result = run("stylize", *filled, *(["--json"] if as_json else []))
    assert result.exit_code == code
    assert engine.calls == []
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr
    if as_json:
        reported = json.loads(result.stdout)
        assert reported == {"event": "Error", "message": result.stderr[7:-1], "exit_code": code}
    else:
        assert result.stdout == ""


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (InputError("the photograph is damaged"), 3, "the photograph is damaged"),
        (ResourceError("disk full"), 4, "disk full"),
        (WeightsError("no weights"), 5, "no weights"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 4, "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), 4, "no space left on the disk (/x/y)"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), 1, "Permission denied (/x/y)"),
    ],
)
def test_errors_of_the_engine(
    engine: Engine, pictures: tuple[Path, Path, Path], error: BaseException, code: int, sentence: str
) -> None:
    engine.error = error
    result = run("stylize", *pictures[:2], "-o", pictures[2], "--json")
    assert result.exit_code == code
    assert result.stderr.startswith("error: ")
    assert sentence in result.stderr
    last = json.loads(result.stdout.splitlines()[-1])
    assert (last["event"], last["exit_code"]) == ("Error", code)


def test_what_should_not_happen_is_no_traceback(
    engine: Engine,
    pictures: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine.error = ZeroDivisionError("oh")
    monkeypatch.delenv("HIRES_NST_DEBUG", raising=False)
    monkeypatch.setattr(sys, "argv", ["hires-nst", "stylize", *map(str, pictures[:2]), "-o", str(pictures[2]), "-q"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: internal error: ZeroDivisionError (oh)")
    monkeypatch.setenv("HIRES_NST_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main()


# plan.


def test_plan(engine: Engine, pictures: tuple[Path, Path, Path]) -> None:
    result = run("plan", *pictures[:2], "--print", "A3")
    assert result.exit_code == 0, result.stderr
    for part in (
        "800 x 600",
        "4 x 8",
        "4961 x 3508 px, 42.0 x 29.7 cm at 300 dpi, up to 52.0 MB",
        "1.5 GB for a tile, 8.0 GB is free",
        "626.0 MB on disk",
        "about 1 h 2 min (1.25 s per megapixel and evaluation)",
        "320 x 352",
        "is enlarged 4 times",
        "slow here",
    ):
        assert part in result.stdout
    assert not pictures[2].exists()


def test_plan_json(engine: Engine, pictures: tuple[Path, Path, Path]) -> None:
    result = run("plan", *pictures[:2], "-o", pictures[2], "--json", "--no-measure")
    data = json.loads(result.stdout)
    assert (data["width"], data["seconds"], data["levels"][1]["evaluations"]) == (4961, None, 32)
    assert not engine.calls[0]["measure"]
    assert result.stderr == ""


def test_plan_checks_the_output_only_when_it_is_given(engine: Engine, pictures: tuple[Path, Path, Path]) -> None:
    pictures[2].touch()
    assert run("plan", *pictures[:2]).exit_code == 0
    assert run("plan", *pictures[:2], "-o", pictures[2]).exit_code == 2
    assert run("plan", *pictures[:2], "-o", pictures[2], "--overwrite").exit_code == 0


def test_plan_takes_the_options_of_stylize_and_batch(
    engine: Engine, pictures: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    known = {option for parameter in COMMANDS[("plan",)].params for option in parameter.opts}
    for name in ("stylize", "batch"):
        for parameter in COMMANDS[(name,)].params:
            assert set(parameter.opts) <= known | {"contents", "content"}
    result = run("plan", *pictures[:2], "--run-dir", tmp_path / "r", "--resume", "never", "--until", "07:00")
    assert result.exit_code == 0, result.output
    for given, sentence in (
        (
            (*pictures[:2], "--retry-wait", "3"),
            f"--retry-wait is for batches only; {pictures[0]} is a single photograph",
        ),
        ((*pictures[:2], "--no-report"), "--report is for batches only"),
        ((tmp_path, "--run-dir", tmp_path), "--run-dir is for single pictures only"),
        ((), "there are no photographs"),
    ):
        result = run("plan", *given)
        assert (result.exit_code, sentence in result.stderr) == (2, True), result.stderr


# config.


def test_config_init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("config", "init").exit_code == 0
    assert load_config("hires-nst.yaml") == Config()
    result = run("config", "init", "hires-nst.yaml", "--preset", "draft")
    assert (result.exit_code, "--force" in result.stderr) == (2, True)
    assert load_config("hires-nst.yaml") == Config()
    assert run("config", "init", "hires-nst.yaml", "--preset", "draft", "--force").exit_code == 0
    assert load_config("hires-nst.yaml") == load_config(preset="draft")
    assert run("config", "init", "no/c.yaml").exit_code == 2
    assert run("config", "init", "c.yaml", "--preset", "nice").exit_code == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["hires-nst.schema.json", "hires-nst.yaml"]


def test_editors_find_the_schema(tmp_path: Path) -> None:
    (tmp_path / SCHEMA_FILE).write_text("{}")  # of an earlier version
    assert run("config", "init", tmp_path / "my.yaml").exit_code == 0
    line = (tmp_path / "my.yaml").read_text().splitlines()[0]
    assert line.startswith("# yaml-language-server: $schema=")
    schema = tmp_path / line.partition("=")[2]
    assert schema.read_text() == run("config", "schema").stdout


def test_config_show(tmp_path: Path) -> None:
    result = run("config", "show", "--preset", "draft", "--set", "levels.rounds=9", "--size", "500")
    (tmp_path / "c.yaml").write_text(result.stdout)
    config = load_config(tmp_path / "c.yaml")
    assert (config.levels.coarse_steps, config.levels.rounds, config.output.long_edge) == (80, 9, 500)


def test_config_validate(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("levels: {rounds: 3}\n")
    assert run("config", "validate", file).stdout == f"{file} is valid\n"
    file.write_text("levels: {rounds: 0}\n")
    result = run("config", "validate", file)
    assert (result.exit_code, result.stdout) == (2, "")
    file.write_text("jobs: [{content: a.jpg, style: b.jpg}, {content: a.jpg, set: {levels: {round: 3}}}]\n")
    result = run("config", "validate", file)
    assert "jobs.1.set: unknown key 'round' in levels; did you mean 'rounds'?" in result.stderr
    assert run("config", "validate", tmp_path / "none.yaml").exit_code == 3


def test_config_schema() -> None:
    schema = json.loads(run("config", "schema").stdout)
    assert set(schema["properties"]) == set(parse_yaml(run("config", "show").stdout))


# models and doctor.


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_models_list(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    result = run("models", "list")
    for part in (
        "vgg19-slim",
        "vgg16",
        "MIT",
        "BSD-3-Clause",
        "20.0 M",
        "100 %",
        "bundled",
        "not downloaded",
        "not imported",
        "not looked at",
    ):
        assert part in result.stdout


def test_styles_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    result = run("styles", "list")
    for part in ("van gogh starry night", "Vincent van Gogh", "The Starry Night", "1889", "public domain", "from the"):
        assert part in result.stdout
    assert "Hokusai" in result.stdout
    assert "Hokusai" not in run("styles", "list", "starry", "gogh").stdout
    picture_file(tmp_path / "mine.jpg")
    (tmp_path / "a.yaml").write_text("gallery: .")
    printed = run("styles", "list", "mine", "--config", tmp_path / "a.yaml", "--json").stdout
    assert json.loads(printed) == {
        "name": "mine", "file": str(tmp_path / "mine.jpg"), "painter": "", "title": "", "year": "", "source": "",
        "licence": "", "tags": [],
    }  # fmt: skip
    refused = run("styles", "list", "mono lisa")
    assert (refused.exit_code, refused.stdout) == (3, "")
    assert "no painting of the gallery is called 'mono lisa'" in refused.stderr


def test_models_verify(home: Path) -> None:
    result = run("models", "verify")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["ok", *["missing"] * 7]
    damaged = home / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"damaged")
    result = run("models", "verify", "vgg19")
    assert result.exit_code == 5
    assert "hires-nst models fetch vgg19" in result.stdout
    assert run("models", "verify", "vgg16").exit_code == 0
    result = run("models", "verify", "vgg18")
    assert (result.exit_code, "did you mean 'vgg1" in result.stderr) == (2, True)


def test_models_fetch(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hires_nst.backbones import weights

    def fetch(backbone: Any, *, on_event: Any) -> None:
        on_event(events.DownloadProgress("vgg16.pth", 1_000_000, 1_000_000))

    monkeypatch.setattr(weights, "fetch", fetch)
    result, file = run("models", "fetch", "vgg16"), home / "hub" / "checkpoints" / "vgg16-397923af.pth"
    assert (result.exit_code, result.stdout) == (0, f"vgg16 has been downloaded: {file}\n")
    assert "downloading vgg16.pth: 1 of 1 MB" in result.stderr
    assert "is already available" in run("models", "fetch", "vgg19-slim").stdout


def test_models_import(home: Path, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"no weights")
    for options in ([], ["--name", "vgg16"]):
        result = run("models", "import", tmp_path / "w.pth", *options)
        assert (result.exit_code, result.stderr.count("\n")) == (5, 1)
    assert not home.exists()


def test_doctor(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hires_nst.backbones import weights

    result = run("doctor")
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("no problems found\n")
    for part in ("Python", "torch", "cpu", "free of", "missing: vgg19", "temporary files"):
        assert part in result.stdout

    def verify(backbone: Any) -> weights.WeightsCheck:
        return weights.WeightsCheck(backbone.name, "damaged", f"{backbone.name} is damaged; do this")

    monkeypatch.setattr(weights, "verify", verify)
    result = run("doctor")
    assert result.exit_code == 1
    assert "problem   vgg19-slim is damaged; do this" in result.stdout
