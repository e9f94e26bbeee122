from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hires_nst.config import (
    FREE_SETTINGS,
    Config,
    Section,
    StyleImage,
    absolute_paths,
    field_at,
    flatten,
    load_config,
    nest,
    parse_config,
    picture_settings,
)
from hires_nst.config.section import section_in
from hires_nst.errors import ConfigError

WITH_FILES: dict[str, Any] = {
    "styles": [
        {"image": "a.jpg", "mask": "m.png", "own_mask": "o.png"},
        {"image": "b.jpg", "scale": 2, "own_mask": "p.png"},
        {"folder": "f", "images": ["f/c.jpg", "f/d.jpg"]},
    ],
    "regions": {"protect": "faces", "content": "c.png"},
    "init": {"kind": "file", "file": "start.png"},
    "model": {"weights": "w.pth"},
}


def test_every_file_has_its_role() -> None:
    assert parse_config(WITH_FILES).files() == (
        ("painting", Path("a.jpg")),
        ("painting", Path("b.jpg")),
        ("painting", Path("f/c.jpg")),
        ("painting", Path("f/d.jpg")),
        ("mask of the painting", Path("o.png")),
        ("mask of the painting", Path("p.png")),
        ("mask", Path("m.png")),
        ("mask", Path("c.png")),
        ("initial image", Path("start.png")),
        ("weights", Path("w.pth")),
    )
    assert Config().files() == ()


def test_files_take_other_places() -> None:
    config = parse_config(WITH_FILES)
    moved = config.with_files({file.path: "/x" / file.path for file in config.files()})
    names = ["a.jpg", "b.jpg", "f/c.jpg", "f/d.jpg", "o.png", "p.png", "m.png", "c.png", "start.png", "w.pth"]
    assert [str(file.path) for file in moved.files()] == [f"/x/{name}" for name in names]
    assert moved.regions.protect == "faces"
    assert moved.styles[1].scale == 2
    assert moved.with_files({"/x" / file.path: file.path for file in config.files()}) == config
    assert config.with_files({Path("other"): Path("c")}) == config


def test_no_path_of_the_schema_is_forgotten() -> None:
    sections = {name: type(field.default) for name, field in Config.model_fields.items()}
    keys = {
        f"{name}.{key}"
        for name, section in sections.items()
        if issubclass(section, Section)
        for key, field in section.model_fields.items()
        if Path in get_args(field.annotation)
    }
    assert keys == {"init.file", "model.weights", "checkpoint.directory", "regions.protect", "regions.content"}


def test_when_a_painting_is_needed() -> None:
    assert Config().needs_style
    without: dict[str, Any] = {"loss": {"style_weight": 0}}
    assert not parse_config(without).needs_style
    assert parse_config({**without, "init": {"kind": "style"}}).needs_style
    with pytest.raises(ConfigError, match="no painting given: name one"):
        Config().check_styles()
    Config().with_styles(["a.jpg"]).check_styles()
    assert Config().with_styles([]) == Config()
    assert [style.scale for style in parse_config(WITH_FILES).with_styles([Path("c.jpg")]).styles] == [1]


def test_settings_by_dotted_key() -> None:
    data = {"levels": {"rounds": 3, "overrides": [{"level": 0}, {"level": 1}]}, "names": ["a", "b"], "none": []}
    assert flatten(data) == {
        "levels.rounds": 3, "levels.overrides.0.level": 0, "levels.overrides.1.level": 1, "names": ["a", "b"]
    }  # fmt: skip


def test_nesting_is_the_inverse_of_flattening() -> None:
    data = Config().model_dump(mode="json", exclude={"styles", "jobs"})
    assert flatten(nest(flatten(data))) == flatten(data)
    assert nest({"a.b.c": 1, "a.d": 2, "e": 3}) == {"a": {"b": {"c": 1}, "d": 2}, "e": 3}
    assert nest({}) == {}


def test_what_may_change_without_another_picture() -> None:
    flat = flatten(Config().model_dump(mode="json"))
    for free in FREE_SETTINGS:
        assert free in ("jobs", "gallery") or any(key == free or key.startswith(f"{free}.") for key in flat), (
            f"no such key: {free}"
        )
    base = parse_config(WITH_FILES)
    assert not any(
        "image" in key or key in ("init.file", "model.weights") for key in picture_settings(base.model_dump())
    )
    others: list[dict[str, Any]] = [
        {"batch": {"retries": 7}}, {"checkpoint": {"keep": 2}}, {"images": {"max_megapixels": 9}},
        {"runtime": {"device": "cpu", "memory": 0.1, "canvas": "disk"}},
        {
            "styles": [
                {"image": "else.jpg", "mask": "n.png", "own_mask": "q.png"}, WITH_FILES["styles"][1],
                {"folder": "g", "images": ["h/c.jpg"]},
            ]
        },
        {"gallery": ["mine"]},
    ]  # fmt: skip
    for other in others:
        assert load_config(overrides=[WITH_FILES, other]).picture_fingerprint() == base.picture_fingerprint(), other
    for changed in (
        {"runtime": {"precision": "bfloat16"}}, {"runtime": {"seed": 1}}, {"levels": {"rounds": 2}},
        {"styles": [{"image": "a.jpg"}, *WITH_FILES["styles"][1:]]}, {"regions": {"protect": None}},
        {"regions": {"protect": "face.png"}},
    ):  # fmt: skip
        assert load_config(overrides=[WITH_FILES, changed]).picture_fingerprint() != base.picture_fingerprint()


def test_relative_paths_are_found_by_the_schema_s_types() -> None:
    data = {
        **WITH_FILES,
        "checkpoint": {"directory": "run"},
        "jobs": [{"content": "c.jpg", "style": "~/d.jpg", "output": "x.png", "set": {"init": {"file": "e.png"}}}, 3],
        "batch": {"template": "t.png"},
        "gallery": ["mine", "/h"],
        "levels": "wrong",
    }
    made = absolute_paths(data, Path("/f"))
    assert made["regions"] == {"protect": "faces", "content": "/f/c.png"}
    assert made["checkpoint"] == {"directory": "/f/run"}
    assert made["jobs"][0] == {
        "content": "/f/c.jpg", "style": str(Path("~/d.jpg").expanduser()), "output": "x.png",
        "set": {"init": {"file": "/f/e.png"}},
    }  # fmt: skip
    assert made["jobs"][1:] == [3]
    assert made["styles"][2] == {"folder": "/f/f", "images": ["/f/f/c.jpg", "/f/f/d.jpg"]}
    assert (made["gallery"], absolute_paths({"gallery": "g"}, Path("/f"))) == (["/f/mine", "/h"], {"gallery": "/f/g"})
    assert (made["batch"], made["levels"]) == (data["batch"], "wrong")


def fields(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in section.model_fields.items():
        inner = section_in(field.annotation)
        if inner is None or prefix:
            yield f"{prefix}{name}", field
        if inner is not None:
            yield from fields(inner, f"{prefix}{name}.")


@pytest.mark.parametrize(("key", "field"), [item for item in fields() if item[0] != "version"])
def test_every_key_is_described_in_a_sentence(key: str, field: FieldInfo) -> None:
    text = field.description or ""
    assert text[:1].isupper() or text.startswith(("cover", "product", "mean-")), text
    assert text.endswith(".")
    assert field_at(key) is field
    for choice in get_args(field.annotation) if get_origin(field.annotation) is Literal else ():
        assert choice == "auto" or str(choice) in text or key == "output.bit_depth", f"{choice} is not explained"


def test_fields_that_do_not_exist() -> None:
    for key in ("nothing", "levels.nothing", "levels.rounds.nothing"):
        with pytest.raises(KeyError):
            field_at(key)


@pytest.mark.parametrize(
    "change", [{"mirror": True}, {"rotations": [90]}, {"scale": [1, 2]}, {"scale": 2}, {"size": 9}, {"weight": 2}]
)
def test_all_that_is_set_for_a_painting_changes_the_picture(change: dict[str, Any]) -> None:
    base, changed = ({"styles": [{"image": "a.jpg", **more}]} for more in ({}, change))
    assert parse_config(base).picture_fingerprint() != parse_config(changed).picture_fingerprint()


def test_the_orientations_of_a_painting() -> None:
    def orientations(**style: Any) -> tuple[tuple[int, bool], ...]:
        return StyleImage.model_validate({"image": "a.jpg", **style}).orientations

    assert orientations() == ((0, False),)
    assert orientations(mirror=True) == ((0, False), (0, True))
    assert orientations(rotations=[180], mirror=True) == ((0, False), (180, False), (0, True), (180, True))
