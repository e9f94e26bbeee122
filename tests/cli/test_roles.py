"""Who is the photograph and who the painting; a command line without a command, without -o, with a folder or a URL."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest
from typer.testing import Result

from hires_nst.cli.first_word import with_command
from hires_nst.cli.roles import Roles
from hires_nst.config import StyleImage
from hires_nst.errors import ConfigError, InputError
from hires_nst.gallery.paintings import BUNDLED
from tests.cli.test_commands import COMMANDS, Engine, engine, picture_file, run

__all__ = ["engine"]

STARRY = str(BUNDLED / "van_gogh_starry_night.jpg")
PICTURES = ("a.jpg", "b.png", "c.jpg", "painting.jpg", "IMG_1.jpg", "IMG_2.jpg", "IMG_3.JPG", "my photo.jpg")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with pictures in it and in `photos` and `paintings`."""
    for name in (*PICTURES, "photos/x.jpg", "paintings/y.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture_file(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(line: str) -> Result:
    return run(*shlex.split(line))


def refusal(line: str, *, code: int) -> str:
    """What a command line is refused with, the same with --json."""
    for options in ("", " --json"):
        result = command(line + options)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.output
        if options:
            reported = json.loads(result.stdout)
            assert reported == {"event": "Error", "message": result.stderr[7:-1], "exit_code": code}
    return result.stderr


def roles(engine: Engine) -> tuple[str, list[str]]:
    call = engine.calls[-1]
    return str(call["content"]), [str(style.image) for style in call["config"].styles]


# The roles.


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("stylize a.jpg painting.jpg", ("a.jpg", ["painting.jpg"])),
        ("stylize a.jpg c.jpg painting.jpg", ("a.jpg", ["c.jpg", "painting.jpg"])),
        ("stylize a.jpg --style painting.jpg", ("a.jpg", ["painting.jpg"])),
        ("stylize --style c.jpg --style painting.jpg a.jpg", ("a.jpg", ["c.jpg", "painting.jpg"])),
        ("stylize a.jpg --style a.jpg", ("a.jpg", ["a.jpg"])),
        ("stylize IMG_1.jpg --style IMG_2.jpg --style IMG_3.JPG", ("IMG_1.jpg", ["IMG_2.jpg", "IMG_3.JPG"])),
        ("stylize IMG_1.jpg IMG_2.jpg", ("IMG_1.jpg", ["IMG_2.jpg"])),  # a painting photographed with the same camera
        ("plan a.jpg --style painting.jpg", ("a.jpg", ["painting.jpg"])),
        ("plan a.jpg painting.jpg", ("a.jpg", ["painting.jpg"])),
        # Paintings of the gallery, by words.
        ("stylize a.jpg 'van gogh'", ("a.jpg", [STARRY])),
        ("a.jpg 'starry gogh'", ("a.jpg", [STARRY])),
        ("stylize a.jpg --style gogh --style c.jpg", ("a.jpg", [STARRY, "c.jpg"])),
        ("plan a.jpg c.jpg 'Van Gogh'", ("a.jpg", ["c.jpg", STARRY])),
        ("stylize a.jpg y --set gallery=paintings", ("a.jpg", ["paintings/y.jpg"])),
    ],
)
def test_the_roles_of_one_photograph(engine: Engine, here: Path, line: str, expected: tuple[str, list[str]]) -> None:
    result = command(line)
    assert result.exit_code == 0, result.output
    assert roles(engine) == expected


def test_a_folder_of_paintings_as_one_style(engine: Engine, here: Path) -> None:
    for line in ("stylize a.jpg paintings c.jpg --merge-styles", "plan a.jpg paintings c.jpg --merge-styles"):
        assert command(f"{line} --style-weights 2,1").exit_code == 0
        first, second = engine.calls[-1]["config"].styles
        assert (first.folder, first.image, first.weight) == (Path("paintings"), None, 2)
        assert (second.folder, second.image) == (None, Path("c.jpg"))
    assert engine.calls[0]["output"] == Path("a-paintings+c.png")


def test_a_folder_of_paintings_in_a_batch(here: Path) -> None:
    picture_file(here / "paintings" / "z.jpg")

    def pictures(line: str) -> int:
        return int(json.loads(command(f"plan photos {line} --json --no-measure").stdout)["pictures"])

    assert pictures("paintings") == 2
    assert pictures("paintings --merge-styles") == 1
    assert pictures("paintings 'van gogh' --merge-styles --style-mirror") == 2


def test_paintings_by_words_are_no_photographs(here: Path) -> None:
    Roles.of(Path("a.jpg"), [Path("munch"), Path("hokusai")], options=None).check_batch(output=Path("out"))
    with pytest.raises(ConfigError, match=r"photographs or paintings: b\.png\?"):
        Roles.of(Path("a.jpg"), [Path("b.png"), Path("munch")], options=None).check_batch(output=Path("out"))


def test_the_scales_and_orientations_of_paintings(engine: Engine, here: Path) -> None:
    def styles(options: str) -> tuple[StyleImage, ...]:
        assert command(f"plan a.jpg {options}").exit_code == 0
        return tuple(engine.calls[-1]["config"].styles)

    (here / "a.yaml").write_text("styles: [{image: c.jpg, size: 70}, {image: b.png, scale: [1, 2], mirror: true}]")
    assert [style.scale for style in styles("c.jpg b.png --style-scale 0.5")] == [0.5, 0.5]
    assert [style.scale for style in styles("c.jpg --style-scale 0.5 --style-scale 1")] == [(0.5, 1)]
    assert [style.size for style in styles("c.jpg b.png --style-size 70")] == [70, 70]
    (turned,) = styles("c.jpg --style-rotations 90,270 --style-mirror")
    assert (turned.rotations, turned.mirror) == ((90, 270), True)
    both = styles("-c a.yaml --style-size 90 --style-rotations 180")
    assert [(style.scale, style.size, style.rotations, style.mirror) for style in both] == [
        (1, 90, (180,), False), (1, 90, (180,), True)
    ]  # fmt: skip
    assert [(style.scale, style.size) for style in styles("-c a.yaml --style-scale 2")] == [(2, None), (2, None)]
    for wrong in ("45", "90,", "90 180", "x", ""):
        said = refusal(f"plan a.jpg c.jpg --style-rotations '{wrong}'", code=2)
        assert "--style-rotations needs some of 90, 180 and 270" in said


def test_what_was_understood_is_said(engine: Engine, here: Path) -> None:
    said = command("stylize a.jpg b.png c.jpg painting.jpg").stderr
    assert "1 photograph x 3 paintings: a.jpg in the styles of b.png, c.jpg and painting.jpg, blended\n" in said
    said = command("stylize a.jpg painting.jpg --overwrite").stderr
    assert "1 photograph x 1 painting: a.jpg in the style of painting.jpg\n" in said
    started = json.loads(command("stylize a.jpg c.jpg painting.jpg --json").stdout.splitlines()[0])
    assert (started["event"], started["styles"]) == ("RunStarted", ["c.jpg", "painting.jpg"])
    assert command("stylize a.jpg b.png painting.jpg -q").stderr == ""


@pytest.mark.parametrize(
    ("line", "code", "sentences"),
    [
        # A shell's glob.
        (
            "batch a.jpg b.png c.jpg painting.jpg -o out", 2,
            ["`hires-nst batch a.jpg b.png c.jpg --style painting.jpg -o out`",
             "`hires-nst batch a.jpg --style b.png --style c.jpg --style painting.jpg -o out`"],
        ),
        ("batch a.jpg 'my photo.jpg' c.jpg -o out", 2, ["`hires-nst batch a.jpg 'my photo.jpg' --style c.jpg -o out`"]),
        (
            "stylize IMG_1.jpg IMG_2.jpg IMG_3.JPG painting.jpg -o x.png", 2,
            ["IMG_2.jpg is named like the photograph IMG_1.jpg",
             "`hires-nst batch IMG_1.jpg IMG_2.jpg IMG_3.JPG --style painting.jpg -o x`",
             "`hires-nst stylize IMG_1.jpg --style IMG_2.jpg --style IMG_3.JPG --style painting.jpg -o x.png`"],
        ),
        ("plan IMG_1.jpg IMG_2.jpg painting.jpg", 2, ["`hires-nst plan IMG_1.jpg --style IMG_2.jpg --style"]),
        ("IMG_1.jpg IMG_2.jpg painting.jpg", 2, ["`hires-nst batch IMG_1.jpg IMG_2.jpg --style painting.jpg -o"]),
        ("stylize a.jpg a.jpg", 2, ["is the photograph itself", "`hires-nst stylize a.jpg --style a.jpg`"]),
        ("stylize a.jpg ./a.jpg painting.jpg", 2, ["is the photograph itself"]),
        # Several photographs, and folders.
        ("stylize a.jpg b.png --style c.jpg -o x.png", 2, ["`hires-nst batch a.jpg b.png --style c.jpg -o x`"]),
        ("stylize photos painting.jpg", 3, ["`hires-nst batch photos --style painting.jpg -o painted`"]),
        ("photos painting.jpg -o x/", 3, ["`hires-nst batch photos --style painting.jpg -o x`"]),
        ("stylize photos", 3, ["`hires-nst batch photos --style PAINTING -o painted`"]),
        ("stylize a.jpg paintings -o x.png", 3, ["paintings is a folder", "`hires-nst batch a.jpg --style paintings"]),
        ("plan a.jpg paintings", 3, ["paintings is a folder"]),
        ("stylize a.jpg paintings -o x.png", 3, ["or take all of them together as one style with --merge-styles"]),
        # Paintings of the gallery.
        ("stylize a.jpg 'van goth'", 3, ["van goth does not exist; did you mean 'van gogh starry night'?"]),
        ("stylize a.jpg sea", 2, ["called 'sea': 'hokusai great wave' and 'turner shipwreck'; add a word"]),
        ("batch photos nothing -o out", 3, ["nothing does not exist; `hires-nst styles list` shows what there is"]),
        ("stylize gogh painting.jpg", 3, ["gogh does not exist; check the name and the folder"]),
        ("stylize a.jpg y --set gallery=none", 3, ["none does not exist"]),
        # URLs.
        ("stylize https://example.com/a.jpg painting.jpg", 3, ["https://example.com/a.jpg is a URL; download"]),
        ("https://example.com/a.jpg painting.jpg", 3, ["https://example.com/a.jpg is a URL"]),
        ("stylize a.jpg http://example.com/b", 3, ["http://example.com/b is a URL; download it first"]),
        ("stylize a.jpg --style file:///tmp/b.jpg", 3, ["is a URL"]),
        ("plan a.jpg s3://bucket/b.jpg", 3, ["s3://bucket/b.jpg is a URL"]),
        ("batch https://example.com/photos painting.jpg -o out", 3, ["https://example.com/photos is a URL"]),
        ("batch photos https://example.com/b.jpg -o out", 3, ["https://example.com/b.jpg is a URL"]),
        ("batch photos painting.jpg -o https://example.com/out", 2, ["https://example.com/out is a URL"]),
        ("stylize a.jpg painting.jpg -o https://example.com/x.png", 2, ["https://example.com/x.png is a URL"]),
        ("stylize a.jpg painting.jpg -o https://example.com/out/", 2, ["https://example.com/out/a-painting.png is a"]),
        ("stylize a.jpg painting.jpg -c https://example.com/c.yaml", 3, ["https://example.com/c.yaml is a URL"]),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_the_right_command(
    engine: Engine, here: Path, line: str, code: int, sentences: list[str]
) -> None:
    before = sorted(here.rglob("*"))
    said = refusal(line, code=code)
    for sentence in sentences:
        assert sentence in said
    assert sorted(here.rglob("*")) == before
    assert not engine.calls


def test_a_long_glob_is_abbreviated(here: Path) -> None:
    names = [picture_file(here / f"{number}.jpg").name for number in range(30)]
    said = refusal(f"batch {' '.join(names)} painting.jpg -o out", code=2)
    assert "`hires-nst batch 0.jpg ... 29.jpg --style painting.jpg -o out`" in said
    assert len(said) < 400


# The first word.


@pytest.mark.parametrize(
    ("line", "becomes_stylize"),
    [
        ("a.jpg painting.jpg", True),
        ("none.png painting.jpg", True),
        ("no_suffix painting.jpg", True),
        ("-o x.png a.jpg painting.jpg", True),
        ("--size 300 --json a.jpg painting.jpg", True),
        ("photos painting.jpg", True),
        ("https://example.com/x painting.jpg", True),
        ("plan a.jpg painting.jpg", False),
        ("--json plan a.jpg painting.jpg", False),
        ("stylise a.jpg painting.jpg", False),
        ("--version", False),
        ("--show-completion=bash", False),
        ("--jsom", False),
        ("", False),
    ],
)
def test_the_first_word(here: Path, line: str, becomes_stylize: bool) -> None:
    picture_file(here / "no_suffix")
    words = shlex.split(line)
    options = {option for parameter in COMMANDS[()].params for option in parameter.opts}
    expected = ["stylize", *words] if becomes_stylize else words
    assert with_command(words, commands=COMMANDS[()].commands, options=options) == expected


def test_pictures_without_a_command_are_painted(engine: Engine, here: Path) -> None:
    for line in ("a.jpg painting.jpg -o x.png", "-o x.png a.jpg painting.jpg", "--seed 3 a.jpg -o x.png painting.jpg"):
        assert command(line).exit_code == 0
        assert roles(engine) == ("a.jpg", ["painting.jpg"])


def test_a_misspelt_command_is_not_taken_for_a_picture(here: Path) -> None:
    result = command("stylise a.jpg painting.jpg")
    assert (result.exit_code, "'stylize'" in result.stderr) == (2, True)


# The output.


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("a.jpg painting.jpg", "a-painting.png"),
        ("a.jpg c.jpg painting.jpg", "a-c+painting.png"),
        ("photos/x.jpg painting.jpg", "photos/x-painting.png"),
        ("a.jpg painting.jpg -o new/", "new/a-painting.png"),
        ("a.jpg painting.jpg -o new/deep/", "new/deep/a-painting.png"),
        ("a.jpg painting.jpg -o photos", "photos/a-painting.png"),
        ("a.jpg painting.jpg -o .", "a-painting.png"),
        ("a.jpg painting.jpg -o x.png", "x.png"),
    ],
)
def test_where_the_result_goes(engine: Engine, here: Path, line: str, output: str) -> None:
    result = command(line)
    assert result.exit_code == 0, result.output
    assert engine.calls[-1]["output"] == Path(output)
    assert output in result.stdout
    assert f"file         {output}\n" in command(f"plan {line}").stdout


def test_a_photograph_in_a_folder_that_is_not_writable(
    engine: Engine, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = os.access  # not with chmod: nothing is forbidden to root
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != Path("photos") and allowed(path, mode))
    assert command("photos/x.jpg painting.jpg").exit_code == 0
    assert engine.calls[-1]["output"] == Path("x-painting.png")


def test_a_name_that_is_too_long_is_shortened(engine: Engine, here: Path) -> None:
    photo, painting = picture_file(here / f"{'ä' * 110}.jpg"), picture_file(here / f"{'b' * 200}.jpg")
    assert run(photo.name, painting.name).exit_code == 0
    name = engine.calls[-1]["output"].name
    assert name.startswith("ä" * 110 + "-bb")
    assert name.endswith("b.png")
    assert len(os.fsencode(name)) == 255 - len(".0123456789abcdef.part")
    for path in (here / name, here / f"{name}.run"):
        path.touch()  # the file system takes it


def test_an_existing_result_is_refused_under_its_default_name_too(engine: Engine, here: Path) -> None:
    (here / "a-painting.png").write_text("precious")
    assert "a-painting.png already exists; use --overwrite" in refusal("a.jpg painting.jpg", code=2)
    assert command("a.jpg painting.jpg --overwrite").exit_code == 0


@pytest.mark.parametrize(
    ("link", "target", "code", "sentence"),
    [
        ("x.png", "b.png", 2, "x.png already exists; use --overwrite"),
        ("x.png", "a.jpg", 2, "is one of the pictures that the run reads"),
        ("x.png", "none/new.png", 2, "none for x.png does not exist"),
        ("x.png", "x.png", 2, "leads back to itself"),
        ("x.png", "new.png", 0, ""),
        ("x.png", "photos", 0, ""),  # a folder for the result
    ],
)
def test_a_link_as_the_result(engine: Engine, here: Path, link: str, target: str, code: int, sentence: str) -> None:
    (here / link).symlink_to(target)
    for command_ in ("stylize", "plan"):
        result = command(f"{command_} a.jpg painting.jpg -o {link}")
        assert result.exit_code == code, result.output
        assert sentence in result.stderr


def test_a_configuration_is_written_behind_a_link(here: Path) -> None:
    (here / "c.yaml").symlink_to("photos/c.yaml")
    assert command("config init c.yaml").exit_code == 0
    assert (here / "c.yaml").is_symlink()
    assert (here / "photos" / "c.yaml").is_file()
    assert "--force" in command("config init c.yaml").stderr


def test_a_setting_among_the_pictures_belongs_to_an_option(tmp_path: Path) -> None:
    photo, painting = tmp_path / "a.jpg", tmp_path / "b.jpg"
    for path in (photo, painting):
        path.write_bytes(b"")
    with pytest.raises(ConfigError, match=r"levels.rounds=3 is a setting; write --set levels.rounds=3"):
        Roles.of(photo, [painting, Path("levels.rounds=3")], options=None)
    with pytest.raises(InputError, match=r"nothing.at.all=3 does not exist"):
        Roles.of(photo, [painting, Path("nothing.at.all=3")], options=None)
