"""A run from the files to the picture, through the public API."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from PIL import Image

import hires_nst
from hires_nst import Config, events
from hires_nst.config import Model, StyleImage, StyleLossName
from hires_nst.errors import ConfigError, InputError, OutputError, ResourceError, WeightsError
from hires_nst.imageio import reading, resize
from hires_nst.run import canvases, context, painter, plan
from hires_nst.run.content import ContentImage
from hires_nst.run.context import RunContext, open_context
from hires_nst.run.output_size import OutputSize, output_size_of
from hires_nst.run.progress import RunState
from hires_nst.transfer import extractor
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.levels import Level, schedule
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.rounds import Round, TileResult
from hires_nst.transfer.style import style_statistics
from hires_nst.transfer.weights import WeightedImage
from tests.conftest import TINY, random_canvas, tiny_network

LIMIT = 500.0
SIZE = (80, 64)
"""Width and height of the photograph."""

# Shallow layers and few steps: what is tested here is how the parts work together.
SMALL: dict[str, dict[str, Any]] = {
    "loss": {"style_layers": {"conv1_1": 1.0, "conv2_1": 1.0, "conv3_1": 1.0}, "content_layers": {"conv3_1": 1.0}},
    "levels": {"min_size": 32, "coarse_steps": 3, "rounds": 2, "steps": 2, "border": 0},
    "tiles": {"size": 32, "overlap": 8},
    "runtime": {"precision": "float32"},
}


def config(**sections: dict[str, Any]) -> Config:
    """The small configuration with other values in some sections."""
    return Config.model_validate({**SMALL, **{k: {**SMALL.get(k, {}), **v} for k, v in sections.items()}})


def save(path: Path, canvas: Canvas) -> Path:
    Image.fromarray(np.rint(canvas.pixels * 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="module")
def photo(folder: Path) -> Path:
    return save(folder / "photo.png", random_canvas(SIZE[1], SIZE[0], 1))


@pytest.fixture(scope="module")
def painting(folder: Path) -> Path:
    return save(folder / "painting.png", random_canvas(96, 90, 2))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.png"


def pixels(path: Path) -> np.ndarray:
    return reading.read_picture(path, max_megapixels=LIMIT).pixels


def paint(photo: Path, out: Path, painting: Path, settings: Config | None = None, **options: Any) -> list[events.Event]:
    """Run it, and give the events."""
    seen: list[events.Event] = []
    hires_nst.stylize(photo, out, styles=painting, config=settings or config(), on_event=seen.append, **options)
    return seen


def of(seen: list[events.Event], kind: type[Any]) -> list[Any]:
    return [event for event in seen if isinstance(event, kind)]


def opened(settings: Config, size: tuple[int, int] = SIZE, emit: events.OnEvent = events.ignore) -> RunContext:
    return open_context(settings, OutputSize(width=size[0], height=size[1], crop=(0, 0, *size), dpi=None), emit=emit)


# The result's size.


def sheet(settings: dict[str, Any], size: tuple[int, int] = (4000, 3000)) -> OutputSize:
    return output_size_of(size, Config.model_validate({"output": settings}), content="photo.jpg")


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ({}, (4000, 3000)),
        ({"long_edge": 1000}, (1000, 750)),
        ({"long_edge": 9001}, (9001, 6751)),
        ({"megapixels": 3}, (2000, 1500)),
        ({"scale": 2.5}, (10000, 7500)),
        ({"scale": 0.1}, (400, 300)),
        ({"print": {"paper": "A6", "dpi": 300}}, (1748, 1240)),
        ({"print": {"paper": "A6", "dpi": 300, "fit": "contain"}}, (1653, 1240)),
        ({"print": {"paper": "A6", "dpi": 300, "bleed_mm": 3}}, (1819, 1311)),
        ({"print": {"paper": "60x40cm", "dpi": 100}}, (2362, 1575)),
    ],
)
def test_the_size_of_the_result(output: dict[str, Any], expected: tuple[int, int]) -> None:
    found = sheet(output)
    assert (found.width, found.height) == expected


def test_a_print_is_turned_with_the_photograph_and_cropped_to_the_paper() -> None:
    found = sheet({"print": {"paper": "A6", "dpi": 300}}, (3000, 4000))
    assert (found.width, found.height, found.dpi) == (1240, 1748, 300)
    left, top, width, height = found.crop
    assert (left, width) == ((3000 - width) // 2, round(4000 * 1240 / 1748))
    assert (top, height) == (0, 4000)
    contained = sheet({"print": {"paper": "A6", "dpi": 300, "fit": "contain"}}, (3000, 4000))
    assert contained.crop == (0, 0, 3000, 4000)


def test_the_resolution_that_is_noted_in_the_file() -> None:
    assert sheet({}).dpi is None
    assert sheet({"long_edge": 500, "dpi": 72}).dpi == 72
    assert sheet({"print": {"paper": "A6", "dpi": 150}}).dpi == 150
    assert sheet({"print": {"paper": "A6", "dpi": 150}, "dpi": 99}).dpi == 99


def test_sizes_below_what_the_deepest_layer_needs_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"a result of 15 x 11 px is too small: vgg19-slim needs 16 px"):
        sheet({"long_edge": 15})
    with pytest.raises(InputError, match=r"photo.jpg is 900 x 15 px, but vgg19-slim needs 16 px"):
        sheet({"long_edge": 5000}, (900, 15))
    shallow = config()
    assert shallow.stride == 4
    assert output_size_of((5, 4), shallow, content="photo.jpg").width == 5


def test_plan_describes_a_print_without_painting_it(photo: Path, painting: Path) -> None:
    plan = hires_nst.plan(
        photo, styles=painting, measure=False,
        config=config(
            output={"print": {"paper": "A6", "dpi": 300}}, tiles={"size": 512}, runtime={"precision": "float32"}
        ),
    )  # fmt: skip
    assert (plan.width, plan.height) == (1748, 1240)
    assert [(level.width, level.height) for level in plan.levels][-1] == (1748, 1240)
    assert (plan.levels[-1].tiles, plan.levels[-1].tile_size) == (4 * 3, 512)
    assert plan.output_bytes == 1748 * 1240 * 3
    assert (plan.seconds, plan.seconds_per_megapixel) == (None, None)
    assert (plan.model, plan.device, plan.precision) == ("vgg19-slim", "cpu", "float32")


def test_plan_and_stylize_do_the_same(photo: Path, painting: Path, out: Path) -> None:
    plan = hires_nst.plan(photo, styles=painting, config=config())
    seen = paint(photo, out, painting)
    (started,) = of(seen, events.RunStarted)
    assert started.levels == tuple((p.width, p.height, p.rounds, p.steps, p.tiles) for p in plan.levels)
    assert plan.seconds is not None
    assert plan.seconds > 0


def test_plan_refuses_what_stylize_refuses(photo: Path, folder: Path) -> None:
    tiny = save(folder / "tiny.png", random_canvas(3, 30))
    for run in (
        lambda: hires_nst.plan(photo, styles=tiny, config=config()),
        lambda: hires_nst.stylize(photo, folder / "none.png", styles=tiny, config=config()),
    ):
        with pytest.raises(InputError, match=r"tiny.png is 30 x 3 px, but vgg19-slim needs 4 px"):
            run()
    with pytest.raises(ConfigError, match="no painting given"):
        hires_nst.plan(photo, config=config())


def test_plan_tells_what_stylize_tells_of_pictures(painting: Path, tmp_path: Path) -> None:
    frames, place = [Image.new("RGB", (40, 32), colour) for colour in ("red", "blue")], Image.Exif()
    place[0x013B] = "A. Author"
    place.get_ifd(0x8825)[1] = "N"
    frames[0].save(tmp_path / "photo.webp", save_all=True, append_images=frames[1:], exif=place)
    frames[0].save(tmp_path / "init.gif", save_all=True, append_images=frames[1:])
    settings = config(init={"kind": "file", "file": str(tmp_path / "init.gif")})
    seen = paint(tmp_path / "photo.webp", tmp_path / "out.png", painting, settings=settings)
    told = {event.message for event in of(seen, events.Notice)}
    plan = hires_nst.plan(tmp_path / "photo.webp", styles=painting, config=settings, measure=False)
    assert told == set(plan.notes)
    assert {
        f"{tmp_path / name}: the file holds 2 frames; the first one was used" for name in ("photo.webp", "init.gif")
    } < told
    assert any("author is kept; the place where it was taken is left out" in text for text in told)


def test_plan_measures_a_loss_without_any_layer(photo: Path) -> None:
    smooth = config(loss={"style_layers": {}, "content_layers": {}, "tv_weight": 1.0})
    assert hires_nst.plan(photo, config=smooth).seconds is not None


def test_tiles_leave_room_for_the_canvases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "free_memory", lambda device: 10**9)
    monkeypatch.setattr(context, "free_host_memory", lambda: 10**9)
    level = Level(index=1, height=4000, width=4000, rounds=1, steps=1)
    automatic = {"size": "auto"}
    on_disk = opened(config(runtime={"canvas": "disk"}, tiles=automatic))
    in_memory = opened(config(runtime={"canvas": "memory"}, tiles=automatic))
    assert in_memory.tile_size(level) < on_disk.tile_size(level)
    assert opened(config(), (4000, 4000)).on_disk  # three canvases would take more than half
    assert not opened(config(), (400, 400)).on_disk


# Every start.


def start(settings: Config, photo: Path, painting: Path) -> np.ndarray:
    context = opened(settings.model_copy(update={"styles": (StyleImage(image=painting),)}))
    content = Canvas.of(pixels(photo))
    level = Level(index=0, height=content.height, width=content.width, rounds=1, steps=1)
    return canvases.first_canvas(content, canvases.read_styles(context), level=level, context=context).pixels


def test_a_start_from_the_content_is_the_photograph(photo: Path, painting: Path) -> None:
    np.testing.assert_array_equal(start(config(), photo, painting), pixels(photo))


def test_a_start_from_the_style_fills_the_picture_with_the_middle_of_the_painting(photo: Path, painting: Path) -> None:
    found = start(config(init={"kind": "style"}), photo, painting)
    assert found.shape == (SIZE[1], SIZE[0], 3)
    expected = resize.resize_pixels(pixels(painting), SIZE, box=(0, 12, 90, 72))  # 90 x 96, to 5 : 4
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_start_from_a_file(photo: Path, painting: Path, folder: Path) -> None:
    file = save(folder / "start.png", random_canvas(32, 40, 9))
    found = start(config(init={"kind": "file", "file": file}), photo, painting)
    np.testing.assert_allclose(found, resize.resize_pixels(pixels(file), SIZE), atol=1e-6)


@pytest.mark.parametrize(("kind", "mean", "deviation"), [("noise", 0.5, 0.2), ("uniform", 0.5, 12**-0.5)])
def test_a_start_from_noise(kind: str, mean: float, deviation: float, photo: Path, painting: Path) -> None:
    found = start(config(init={"kind": kind}), photo, painting)
    assert found.mean() == pytest.approx(mean, abs=0.01)
    assert found.std() == pytest.approx(deviation, abs=0.01)
    assert 0 <= found.min() <= found.max() <= 1
    np.testing.assert_array_equal(start(config(init={"kind": kind}), photo, painting), found)
    other = start(config(init={"kind": kind}, runtime={"seed": 1}), photo, painting)
    assert np.abs(other - found).mean() > 0.1


def test_noise_is_mixed_into_the_photograph_by_its_share(photo: Path, painting: Path) -> None:
    noise = start(config(init={"kind": "noise"}), photo, painting)
    mixed = start(config(init={"noise": 0.25}), photo, painting)
    inside = (noise > 0) & (noise < 1)  # the noise itself is clipped at the end only
    np.testing.assert_allclose(mixed[inside], (0.75 * pixels(photo) + 0.25 * noise)[inside], atol=1e-5)
    np.testing.assert_array_equal(start(config(init={"noise": 1.0}), photo, painting), noise)


@pytest.mark.parametrize("init", [{"kind": "style"}, {"kind": "noise"}, {"kind": "uniform", "noise": 0.0}])
def test_other_starts_run_to_the_end(init: dict[str, Any], photo: Path, painting: Path, out: Path) -> None:
    paint(photo, out, painting, config(init=init))
    assert pixels(out).shape == (SIZE[1], SIZE[0], 3)


# Several paintings.


def statistics(
    context: RunContext, shares: list[tuple[Canvas, float]], loss: StyleLossName = "mean-covariance"
) -> dict[str, Statistics]:
    return style_statistics(
        context.extract, [(WeightedImage(canvas), share) for canvas, share in shares], layers=context.config.layers,
        loss=loss, grid_of=lambda c: context.measure_grid(c.height, c.width, size=64),
    )  # fmt: skip


def test_statistics_of_several_paintings_are_their_weighted_mean() -> None:
    context = opened(config())
    first, second = random_canvas(50, 60, 4), random_canvas(70, 40, 5)
    mixed = statistics(context, [(first, 3.0), (second, 1.0)])
    one, two = statistics(context, [(first, 1.0)]), statistics(context, [(second, 7.0)])
    assert list(mixed) == list(context.config.layers)
    for layer, found in mixed.items():
        for part in ("mean", "second"):
            expected = 0.75 * getattr(one[layer], part) + 0.25 * getattr(two[layer], part)
            assert torch.allclose(getattr(found, part), expected, rtol=1e-9)


def test_the_same_painting_twice_changes_nothing(photo: Path, painting: Path, tmp_path: Path) -> None:
    results = []
    for number, weights in enumerate([[1.0], [1.0, 1.0], [5.0, 3.0]]):
        out = tmp_path / f"{number}.png"
        styles = tuple(StyleImage(image=painting, weight=weight) for weight in weights)
        hires_nst.stylize(photo, out, config=config().model_copy(update={"styles": styles}))
        results.append(pixels(out))
    for result in results[1:]:
        assert np.abs(result - results[0]).mean() < 1 / 255


# Levels, rounds, tiles and their events.


def check_events(seen: list[events.Event]) -> None:
    """What has to be true of the events of every run that needs no second try."""
    (started,) = of(seen, events.RunStarted)
    assert isinstance(seen[-1], events.RunFinished)
    tiles = of(seen, events.TileFinished)
    assert sum(tile.pixel_evaluations for tile in tiles) == started.pixel_evaluations
    begun, ended = of(seen, events.LevelStarted), of(seen, events.LevelFinished)
    assert [level.index for level in begun] == [level.index for level in ended] == list(range(len(started.levels)))
    for level, reported in zip(begun, started.levels, strict=True):
        assert (level.width, level.height, level.rounds, level.steps, level.tiles) == reported
        assert level.count == len(begun)
        rounds = [r for r in of(seen, events.RoundStarted) if r.level == level.index]
        assert [r.round for r in rounds] == list(range(level.rounds))
        finished = [r for r in of(seen, events.RoundFinished) if r.level == level.index]
        assert [r.round for r in finished] == list(range(level.rounds))
        for around in rounds:
            mine = [t for t in tiles if (t.level, t.round) == (level.index, around.round)]
            assert [t.tile for t in mine] == list(range(around.tiles))
            assert all(t.tiles == around.tiles for t in mine)
            steps = [s for s in of(seen, events.StepFinished) if (s.level, s.round) == (level.index, around.round)]
            assert [(s.tile, s.step) for s in steps] == [
                (tile, step) for tile in range(around.tiles) for step in range(1, level.steps + 1)
            ]


@pytest.mark.parametrize("coupling", ["balanced", "exact"])
def test_a_tolerance_ends_levels_as_if_they_had_fewer_rounds(
    coupling: str, photo: Path, painting: Path, tmp_path: Path
) -> None:
    tiles, levels = {"coupling": coupling, "size": 64}, {"coarse_steps": 60, "rounds": 40, "border": 16}
    early = paint(
        photo, tmp_path / "early.png", painting, config(levels={**levels, "tolerance": 0.1}, tiles=tiles)
    )  # fmt: skip
    taken = [level.evaluations for level in of(early, events.LevelFinished)]
    assert 10 < taken[0] < 60
    assert 4 < taken[1] < 80
    overrides = [{"level": 0, "steps": taken[0]}, {"level": 1, "rounds": taken[1] // 2}]
    fewer = paint(
        photo, tmp_path / "fewer.png", painting, config(levels={**levels, "overrides": overrides}, tiles=tiles)
    )
    assert np.array_equal(pixels(tmp_path / "early.png"), pixels(tmp_path / "fewer.png"))
    assert [level.evaluations for level in of(fewer, events.LevelFinished)] == [None, None]
    (started,) = of(fewer, events.RunStarted)
    assert sum(tile.pixel_evaluations for tile in of(early, events.TileFinished)) == started.pixel_evaluations
    state = RunState()
    for event in early:
        state.update(event, 0.0)
    assert state.done == state.total == started.pixel_evaluations


@pytest.fixture(scope="module")
def usual(photo: Path, painting: Path, folder: Path) -> tuple[list[events.Event], bytes]:
    """The events and the file of a run with the small configuration."""
    out = folder / "usual.png"
    return paint(photo, out, painting), out.read_bytes()


def test_events_of_a_run(usual: tuple[list[events.Event], bytes]) -> None:
    seen, _ = usual
    check_events(seen)
    (started,) = of(seen, events.RunStarted)
    assert started.levels == ((40, 32, 1, 3, 1), (80, 64, 2, 2, 6))
    assert started.pixel_evaluations == 40 * 32 * 3 + 80 * 64 * 4
    shown = [
        type(event).__name__ for event in seen if not isinstance(event, (events.StepFinished, events.CheckpointWritten))
    ]
    assert shown[:4] == ["RunStarted", "LevelStarted", "RoundStarted", "TileFinished"]
    assert [r.style_loss is None for r in of(seen, events.RoundStarted)] == [True, False, False]


def test_the_loss_goes_down_and_the_pixels_stay_in_range(photo: Path, painting: Path, out: Path) -> None:
    seen = paint(photo, out, painting, config(levels={"coarse_steps": 10, "rounds": 3, "steps": 5}))
    check_events(seen)
    coarse = [step.loss for step in of(seen, events.StepFinished) if step.level == 0]
    assert coarse[-1] < 0.6 * coarse[0]
    fine = [r.style_loss for r in of(seen, events.RoundStarted) if r.level == 1]
    assert fine[-1] < fine[0]
    assert np.isfinite(pixels(out)).all()


def test_a_coarsest_level_of_several_tiles_is_refined_in_rounds(
    photo: Path, painting: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "free_memory", lambda device: 10**6)
    settings = config(levels={"min_size": 64, "coarse_steps": 5, "steps": 2}, runtime={"canvas": "memory"})
    seen = paint(photo, out, painting, settings)
    check_events(seen)
    assert of(seen, events.RunStarted)[0].levels == ((80, 64, 3, 2, 6),)


def test_a_level_without_rounds_is_only_enlarged(photo: Path, painting: Path, out: Path) -> None:
    overrides = [{"level": 0, "rounds": 0}, {"level": 1, "rounds": 0}]
    seen = paint(photo, out, painting, config(levels={"overrides": overrides, "detail": 0.0}))
    check_events(seen)
    half = resize.resize_pixels(pixels(photo), (40, 32))
    np.testing.assert_allclose(pixels(out), resize.resize_pixels(half, SIZE), atol=0.6 / 255)


def test_the_grid_is_shifted_on_every_other_round_by_default(
    usual: tuple[list[events.Event], bytes], photo: Path, painting: Path, out: Path
) -> None:
    assert [r.tiles for r in of(usual[0], events.RoundStarted)] == [1, 6, 12]
    seen = paint(photo, out, painting, config(tiles={"shift": False}))
    assert [r.tiles for r in of(seen, events.RoundStarted)] == [1, 6, 6]


def test_a_run_without_a_painting_smooths(photo: Path, out: Path) -> None:
    settings = config(loss={"style_layers": {}, "content_layers": {}, "tv_weight": 1.0})
    hires_nst.stylize(photo, out, config=settings)
    assert np.abs(np.diff(pixels(out), axis=0)).mean() < np.abs(np.diff(pixels(photo), axis=0)).mean()


# The same again.


def test_the_same_run_gives_the_same_bytes(
    usual: tuple[list[events.Event], bytes], photo: Path, painting: Path, out: Path
) -> None:
    paint(photo, out, painting)
    assert out.read_bytes() == usual[1]
    paint(photo, out, painting, config(runtime={"seed": 5}), overwrite=True)
    with Image.open(out) as image, Image.open(BytesIO(usual[1])) as before:
        assert image.tobytes() == before.tobytes()  # no noise, no seed


def test_the_seed_decides_the_noise(photo: Path, painting: Path, tmp_path: Path) -> None:
    results = []
    for number, seed in enumerate([3, 3, 4]):
        out = tmp_path / f"{number}.png"
        paint(photo, out, painting, config(init={"kind": "noise"}, runtime={"seed": seed}))
        results.append(out.read_bytes())
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_canvases_on_disk_give_the_same_bytes_as_in_memory(
    optimizer: str, photo: Path, painting: Path, tmp_path: Path
) -> None:
    results = []
    for place in ("memory", "disk"):
        out = tmp_path / f"{place}.png"
        paint(photo, out, painting, config(runtime={"canvas": place}, optimizer={"name": optimizer}))
        results.append(out.read_bytes())
    assert results[0] == results[1]


# Memory that runs out.


def forgetful(error: Exception, *, fits: Callable[[int], bool]) -> Callable[..., TileResult]:
    """`refine_tile`, which fails for windows whose area does not fit."""
    from hires_nst.transfer.refine import refine_tile

    def replacement(current: Round, tile: Any, **options: Any) -> TileResult:
        if not fits(tile.window.area):
            raise error
        return refine_tile(current, tile, **options)

    return replacement


def test_tiles_shrink_until_they_fit(painting: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    photo = save(tmp_path / "photo.png", random_canvas(140, 300, 1))
    monkeypatch.setattr("hires_nst.transfer.refine.refine_tile", forgetful(error, fits=lambda area: area < 100 * 100))
    settings = config(levels={"min_size": 128, "coarse_steps": 5, "steps": 2}, tiles={"size": 256})
    out = tmp_path / "out.png"
    seen = paint(photo, out, painting, settings)
    shrunk = of(seen, events.TilesShrunk)
    assert [(event.level, event.round, event.size) for event in shrunk] == [(0, 0, 148), (0, 0, 68)]
    # Many tiles do not take all the steps of one tile at once: they would no longer be coupled.
    last = of(seen, events.RoundFinished)[-1]
    assert (last.round, last.rounds) == (2, 3)
    assert {step.steps for step in of(seen, events.StepFinished)} == {2}
    assert pixels(out).shape == (140, 300, 3)
    assert of(seen, events.LevelFinished)


def test_a_later_round_begins_again_where_it_was(
    photo: Path, tmp_path: Path, painting: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = save(tmp_path / "photo.png", random_canvas(128, 256, 1))
    settings = config(levels={"min_size": 64, "rounds": 2}, tiles={"size": 128})
    count = 0

    def fits(area: int) -> bool:
        nonlocal count
        count += 1
        return count != 5  # the second tile of the shifted grid, after the coarsest level and two tiles

    error = MemoryError()
    monkeypatch.setattr("hires_nst.transfer.refine.refine_tile", forgetful(error, fits=fits))
    seen = paint(photo, tmp_path / "out.png", painting, settings)
    assert [(e.level, e.round, e.size) for e in of(seen, events.TilesShrunk)] == [(1, 1, 64)]
    assert [(e.level, e.round) for e in of(seen, events.RoundStarted)] == [(0, 0), (1, 0), (1, 1), (1, 1)]
    assert [(e.level, e.round) for e in of(seen, events.RoundFinished)] == [(0, 0), (1, 0), (1, 1)]


def test_a_loss_that_is_not_a_number_is_reported(photo: Path, painting: Path, out: Path) -> None:
    seen = paint(photo, out, painting, config(loss={"content_weight": 1e308}))
    notices = [event.message for event in of(seen, events.Notice)]
    assert any("the loss of round 1 of level 1 is NaN or infinite" in message for message in notices)


def test_tiles_never_shrink_below_the_smallest(
    photo: Path, painting: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("can't allocate memory")
    monkeypatch.setattr("hires_nst.transfer.refine.refine_tile", forgetful(error, fits=lambda area: False))
    with pytest.raises(ResourceError, match=r"out of memory with tiles of .* px, and tiles cannot be made smaller"):
        paint(photo, out, painting)
    assert ResourceError.exit_code == 4
    assert not out.exists()


def test_memory_that_runs_out_elsewhere_is_one_sentence(
    photo: Path, painting: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(painter, "style_images", fail)
    with pytest.raises(ResourceError, match="out of memory; close other programs"):
        paint(photo, out, painting)


def test_other_errors_are_not_taken_for_memory(
    photo: Path, painting: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "hires_nst.transfer.refine.refine_tile", forgetful(RuntimeError("a bug"), fits=lambda area: False)
    )
    with pytest.raises(RuntimeError, match="a bug"):
        paint(photo, out, painting)


# What is asked for is done.


def test_detail_adds_the_fine_detail_of_the_photograph(photo: Path) -> None:
    content = ContentImage(pixels=pixels(photo), alpha=None, crop=(0, 0, *SIZE))
    lower, level = schedule(SIZE[1], SIZE[0], levels=config().levels)
    coarse = Canvas.of(np.full((32, 40, 3), 0.5, np.float32))
    smooth = resize.resize_pixels(resize.resize_pixels(pixels(photo), (40, 32)), SIZE)
    part = resize.resize_pixels(resize.resize_pixels(pixels(photo), (53, 43)), SIZE)
    for share in (0.0, 0.5, 1.0):
        context = opened(config(levels={"detail": share}))
        start = painter.start_canvas(
            coarse, level, lower=lower, content=content, level_content=content.at(level, context), styles=[],
            context=context,
        )  # fmt: skip
        expected = np.clip(0.5 + share * (part - smooth), 0, 1)
        np.testing.assert_allclose(start.pixels, expected, atol=5e-4)  # the photograph is in half precision


def test_detail_is_no_stronger_than_the_paintings(photo: Path, painting: Path) -> None:
    content = ContentImage(pixels=pixels(photo), alpha=None, crop=(0, 0, *SIZE))
    lower, level = schedule(SIZE[1], SIZE[0], levels=config().levels)

    def change(strengths: dict[float, float], **sections: dict[str, Any]) -> np.ndarray:
        context = opened(config(**sections))
        flat = np.full_like(pixels(painting), 0.5)
        styles = [
            (
                WeightedImage(Canvas.of(flat + np.float32(strength) * (pixels(painting) - flat))),
                StyleImage(image=painting, weight=weight).paintings[0],
            )
            for strength, weight in strengths.items()
        ]
        start = painter.start_canvas(
            Canvas.of(np.full((32, 40, 3), 0.5, np.float32)), level, lower=lower, content=content,
            level_content=content.at(level, context), styles=styles, context=context,
        )  # fmt: skip
        return start.pixels - 0.5

    whole = change({1.0: 1.0}, levels={"detail": 0.5})
    twice, once = change({0.2: 1.0}), change({0.1: 1.0})
    assert np.abs(once).max() > 0.003
    np.testing.assert_allclose(twice, 2 * once, atol=1e-5)
    np.testing.assert_allclose(change({0.2: 1.0, 0.1: 3.0}), once * np.sqrt((4 + 3) / 4), atol=1e-5)
    share = np.linalg.norm(once) / np.linalg.norm(2 * whole)
    np.testing.assert_allclose(once, 2 * share * whole, atol=1e-5)
    assert 0 < share < 0.2
    assert not change({0.0: 1.0}).any()
    assert not change({1.0: 1.0}, loss={"content_weight": 0.0}).any()


def test_a_painting_is_scaled_with_the_level_and_never_enlarged(painting: Path) -> None:
    canvas = Canvas.of(pixels(painting))  # 90 x 96
    deep = opened(Config())

    def at(width: int, scale: float = 1.0) -> tuple[int, int, bool]:
        level = Level(index=0, height=width // 2, width=width, rounds=1, steps=1)
        small = canvases.small_style([(96, 90)], StyleImage(image=painting, scale=scale).paintings, levels=[level])
        found = canvases.style_image(WeightedImage(canvas), scale, level=level, context=deep).canvas
        return found.width, found.height, small is not None

    assert at(48) == (45, 48, False)
    assert at(96) == (90, 96, False)
    assert at(192, 0.25) == (45, 48, False)
    assert at(192) == (90, 96, True)
    assert at(96, 2.0) == (90, 96, True)
    assert at(20, 0.1) == (16, 17, False)


def test_a_painting_that_is_too_small_is_reported_once(photo: Path, tmp_path: Path, out: Path) -> None:
    small = save(tmp_path / "small.png", random_canvas(20, 24))
    notices = of(paint(photo, out, small), events.Notice)
    assert len(notices) == 1
    assert "smaller than 40 x 32 px and is not enlarged" in notices[0].message
    large = save(tmp_path / "large.png", random_canvas(90, 120))
    assert not of(paint(photo, out, large, overwrite=True), events.Notice)


@pytest.mark.parametrize("coupling", ["balanced", "independent", "exact"])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_every_coupling_with_every_optimizer(
    coupling: str, optimizer: str, photo: Path, painting: Path, out: Path
) -> None:
    # A first step of Adam is as large as its rate for every pixel: too large for three steps from a photograph.
    rate = 0.005 if optimizer == "adam" else None
    levels = {"coarse_steps": 4, "rounds": 2, "steps": 4}
    settings = config(tiles={"coupling": coupling}, optimizer={"name": optimizer, "learning_rate": rate}, levels=levels)
    seen = paint(photo, out, painting, settings)
    check_events(seen)
    losses = [step.loss for step in of(seen, events.StepFinished) if step.level == 0]
    assert losses[-1] < losses[0]
    assert len({tile.tiles for tile in of(seen, events.TileFinished) if tile.level == 1}) == (
        1 if coupling == "exact" else 2
    )


def test_bfloat16_is_close_to_float32(
    usual: tuple[list[events.Event], bytes], folder: Path, photo: Path, painting: Path, out: Path
) -> None:
    settings = config(runtime={"precision": "bfloat16"})
    seen = paint(photo, out, painting, settings)
    assert np.abs(pixels(out) - pixels(folder / "usual.png")).mean() < 0.02
    first, expected = (of(s, events.StepFinished)[0].loss for s in (seen, usual[0]))
    assert first == pytest.approx(expected, rel=0.02)
    assert hires_nst.plan(photo, styles=painting, config=settings, measure=False).precision == "bfloat16"


def test_a_painting_of_one_colour_does_no_harm(photo: Path, tmp_path: Path, out: Path) -> None:
    flat = save(tmp_path / "flat.png", Canvas.of(np.full((90, 96, 3), 0.3, np.float32)))
    seen = paint(photo, out, flat)
    assert all(np.isfinite(step.loss) for step in of(seen, events.StepFinished))
    assert np.isfinite(pixels(out)).all()


def test_another_network_is_used_when_it_is_configured(
    photo: Path, painting: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Config, "backbone", TINY)
    loaded: list[dict[str, Any]] = []

    def load(backbone: Any, **options: Any) -> Any:
        loaded.append({"backbone": backbone, **options})
        return tiny_network(dtype=torch.float32, pooling=options["pooling"], padding=options["padding"])

    monkeypatch.setattr(extractor, "load_network", load)
    settings = config(
        model={"pooling": "average", "padding": "zeros"},
        loss={"style_layers": {"conv1_1": 1.0, "conv5_1": 1.0}, "content_layers": {"conv4_2": 1.0}},
        levels={"min_size": 64},
        runtime={"precision": "float32"},
    )
    monkeypatch.setattr(Config, "layers", ("conv1_1", "conv4_2", "conv5_1"))
    check_events(paint(photo, out, painting, settings))
    assert (loaded[0]["backbone"], loaded[0]["pooling"], loaded[0]["padding"]) == (TINY, "average", "zeros")
    monkeypatch.setattr(Config, "backbone", replace(TINY, pooling="l2"))
    check_events(paint(photo, out.with_name("own.png"), painting, settings.model_copy(update={"model": Model()})))
    assert loaded[1]["pooling"] == "l2", "auto is the network's own"


# Files and settings that do not go together.


def test_an_existing_result_is_not_replaced_without_overwrite(photo: Path, painting: Path, out: Path) -> None:
    out.write_bytes(b"precious")
    with pytest.raises(OutputError, match="already exists; use --overwrite"):
        paint(photo, out, painting)
    assert out.read_bytes() == b"precious"
    paint(photo, out, painting, overwrite=True)
    assert pixels(out).shape == (SIZE[1], SIZE[0], 3)


def test_the_file_has_the_configured_format(photo: Path, painting: Path, tmp_path: Path) -> None:
    settings = config(output={"long_edge": 40, "bit_depth": 16, "dpi": 200})
    result = hires_nst.stylize(str(photo), str(tmp_path / "o.tif"), styles=[str(painting)], config=settings)
    assert (result.output, result.width, result.height) == (tmp_path / "o.tif", 40, 32)
    assert [level.index for level in result.levels] == [0]
    with Image.open(tmp_path / "o.tif") as image:
        assert image.size == (40, 32)
        assert image.info["dpi"] == (200, 200)


@pytest.mark.parametrize(
    ("output", "sentence"),
    [({"bit_depth": 16}, "16 bits as a JPEG"), ({"long_edge": 70_000}, "too large for a JPEG with 70000 x 56000")],
)
def test_what_a_jpeg_cannot_hold_is_refused_before_the_work(
    output: dict[str, Any], sentence: str, photo: Path, painting: Path, tmp_path: Path
) -> None:
    seen: list[events.Event] = []
    with pytest.raises(OutputError, match=sentence):
        hires_nst.stylize(
            photo, tmp_path / "o.jpg", styles=painting, config=config(output=output), on_event=seen.append
        )
    assert not seen
    assert not list(tmp_path.iterdir())


def test_weights_and_device_are_checked(photo: Path, painting: Path, out: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no weight file"):
        paint(photo, out, painting, config(model={"weights": tmp_path / "none.pth"}))
    with pytest.raises(ConfigError, match="there is no device cuda:99"):
        paint(photo, out, painting, config(runtime={"device": "cuda:99"}))
    assert not out.exists()


def test_planning_splits_only_a_coarsest_level_of_several_tiles() -> None:
    settings = config(levels={"steps": 8})
    many, one = opened(settings).grid(64, 80, size=32), opened(settings).grid(64, 80, size=999)
    split = plan.split_coarse
    coarse = Level(index=0, height=64, width=80, rounds=1, steps=200)
    assert split(coarse, many, config=settings) == replace(coarse, rounds=25, steps=8)
    assert split(replace(coarse, steps=201), many, config=settings) == replace(coarse, rounds=26, steps=8)
    for level, grid in (
        (coarse, one),
        (replace(coarse, index=1), many),
        (replace(coarse, steps=8), many),
    ):
        assert split(level, grid, config=settings) == level


@pytest.mark.parametrize("style", get_args(StyleLossName))
def test_a_loss_that_overflows_leaves_the_picture_as_it_was(
    style: StyleLossName, photo: Path, painting: Path, tmp_path: Path
) -> None:
    loss = {**SMALL["loss"], "style": style, "style_weight": 1e37, "content_weight": 1e37}
    settings = Config.model_validate({**SMALL, "loss": loss})
    hires_nst.stylize(photo, tmp_path / "out.png", styles=painting, config=settings)
    assert pixels(tmp_path / "out.png").shape == (SIZE[1], SIZE[0], 3)


@pytest.mark.parametrize(("memory", "is_tight"), [("100 MB", True), ("900 GB", False), (0.8, False)])
def test_freed_memory_is_given_back_where_an_amount_is_nearly_used(
    memory: str | float, is_tight: bool, photo: Path, painting: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    monkeypatch.setattr(context, "give_back_memory", lambda: given.append(1))
    seen = paint(photo, out, painting, config(runtime={"memory": memory}))
    tiles = of(seen, events.TileFinished)
    assert len(tiles) > 3
    assert len(given) >= len(tiles) if is_tight else not given
