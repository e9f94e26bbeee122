"""The page and the pictures beside it."""

from __future__ import annotations

import json
import os
import shlex
import time
from dataclasses import replace
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from hires_nst import cli
from hires_nst import report as report_package
from hires_nst.cli.status import status_lines
from hires_nst.errors import InputError, OutputError
from hires_nst.imageio.paper import central_crop
from hires_nst.imageio.resize import resize_pixels
from hires_nst.report import pictures
from hires_nst.report.model import Report, ReportedJob
from hires_nst.report.pictures import FOLDER, address, make_pictures
from hires_nst.report.render import (
    is_complete,
    page_of,
    paper_of,
    retries,
    settings_text,
    shared_settings,
    write_report,
)
from hires_nst.report.sources import gather
from hires_nst.run.status import run_status
from tests.calls import counted_calls
from tests.report.example import AWKWARD, FILE_NAME, RETRY, batch, picture, save


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style") and data.strip():
            self.words.append(" ".join(data.split()))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def addresses(self) -> list[str]:
        keys = ("src", "href", "data-full", "data-preview")
        return [value for _, attributes in self.tags for key in keys if (value := attributes.get(key))]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return batch(tmp_path)


def test_everything_is_reported_and_escaped(report: Report, tmp_path: Path) -> None:
    page = Page(write_report(report, tmp_path))
    for text in (
        "Prints & <i>more</i>", AWKWARD, "broken <b>", 'broken <b>.jpg is damaged; "save" it again',
        "empty.jpg is empty", RETRY, "no picture", "a note & more", "2 h 0 min", "120 × 100 px · 1 min 15 s",
    ):  # fmt: skip
        assert any(text in word for word in page.words), text
    names = {name for name, _ in page.tags}
    assert not names & {"i", "b", "link", "iframe", "object", "base"}
    assert len(page.all("script")) == 1
    assert any(attributes.get("data-copy") == RETRY for attributes in page.all("button"))


def test_failures_stand_above_the_pictures(report: Report, tmp_path: Path) -> None:
    page = Page(write_report(report, tmp_path))
    assert page.words.index("2 pictures failed") < page.words.index(AWKWARD)
    assert page.words.count(RETRY) == 1  # the two failures share the command


def test_totals(report: Report) -> None:
    totals = report.totals
    assert (totals.done, totals.failed, totals.other) == (4, 2, 1)
    assert totals.megapixels == pytest.approx(0.012 + 0.0077 + 0.42 + 1)
    assert totals.seconds == 7200
    assert totals.megapixels_per_hour == pytest.approx(totals.megapixels / 2)
    assert replace(report, working_seconds=3600.0).totals.megapixels_per_hour == pytest.approx(totals.megapixels)
    assert replace(report, finished=None).totals.megapixels_per_hour is None


def test_the_page_refers_to_files_that_are_there_and_to_nothing_else(report: Report, tmp_path: Path) -> None:
    page = Page(write_report(report, tmp_path))
    links = [link for link in page.addresses() if not link.startswith("#")]
    assert address(tmp_path / FILE_NAME, tmp_path) in links
    assert len(links) > 10
    for link in links:
        assert not urlsplit(link).scheme and not urlsplit(link).netloc and not urlsplit(link).query
        assert (tmp_path / os.fsdecode(unquote(link).encode())).is_file(), link
    assert "http:" not in page.source and "https:" not in page.source
    assert "url(" not in page.source and "@import" not in page.source


def test_images_load_when_they_are_in_sight_and_have_words_and_a_size(report: Report, tmp_path: Path) -> None:
    images = Page(write_report(report, tmp_path)).all("img")
    assert images
    for image in images:
        assert image["loading"] == "lazy"
        assert image["alt"]
        assert int(image["width"] or 0) > 0
        assert int(image["height"] or 0) > 0


def test_a_page_of_an_empty_report(tmp_path: Path) -> None:
    page = Page(write_report(Report(title="Nothing", jobs=(), version="1"), tmp_path))
    assert "Nothing" in page.words
    assert not (tmp_path / FOLDER).exists()


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    try:
        save(path, picture(40, 50))
    except OSError:
        pytest.skip("this file system has Unicode names only")
    job = ReportedJob(name=path.stem, state="done", content=path, styles=(path,), output=path, width=50, height=40)
    page = write_report(Report(title="Prints", jobs=(job,), version="1"), tmp_path)
    assert b'href="caf%E9.png"' in page.read_bytes()
    page.read_text(encoding="utf-8")


# Pictures


def jpeg(folder: Path, link: str | None) -> np.ndarray:
    assert link is not None
    with Image.open(folder / unquote(link)) as image:
        return np.asarray(image.convert("RGB"), np.float32) / 255


def test_before_shows_the_same_part_as_after(tmp_path: Path) -> None:
    """A landscape photograph, cut to an upright print: what is outside of the middle is in neither."""
    pixels = np.zeros((100, 300, 3), np.float32)
    pixels[:, 125:175, 1] = 1  # the part that an upright print of 1 : 2 shows
    photo, output = save(tmp_path / "photo.png", pixels), save(tmp_path / "out.png", np.ones((80, 40, 3), np.float32))
    job = ReportedJob(name="a", state="done", content=photo, styles=(), output=output, width=40, height=80)
    made = make_pictures(job, tmp_path)
    before = jpeg(tmp_path, made.before)
    assert before.shape == jpeg(tmp_path, made.after).shape == (80, 40, 3)
    assert np.abs(before[:, 3:-3] - (0, 1, 0)).max() < 0.1


@pytest.mark.parametrize(
    ("size", "like", "expected"),
    [
        ((300, 100), (40, 80), (125, 0, 50, 100)),
        ((100, 300), (80, 40), (0, 125, 100, 50)),
        ((640, 480), (4, 3), (0, 0, 640, 480)),
    ],
)
def test_central_crop(size: tuple[int, int], like: tuple[int, int], expected: tuple[float, ...]) -> None:
    assert central_crop(size, like) == expected


def test_central_crop_stays_within_the_picture() -> None:
    for width, height in product(range(1, 60), repeat=2):
        for like in ((79, 59), (59, 79), (3, 7), (48, 64)):
            left, top, across, down = central_crop((width, height), like)
            assert min(left, top) >= 0 and left + across <= width and top + down <= height
            resize_pixels(np.zeros((height, width), np.float32), (2, 2), box=(left, top, across, down))


def test_previews_are_not_larger_than_they_need_to_be(tmp_path: Path) -> None:
    output = save(tmp_path / "out.png", picture(30, 2500))
    made = make_pictures(ReportedJob(name="a", state="done", content=output, styles=(output,), output=output), tmp_path)
    assert (made.width, made.height) == (2500, 30)
    assert made.preview == (1000, 12)
    assert jpeg(tmp_path, made.after).shape == jpeg(tmp_path, made.before).shape == (12, 1000, 3)
    assert jpeg(tmp_path, made.styles[0]).shape == (3, 240, 3)


def test_what_the_full_view_shows(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    awkward, _, tiff, *_ = report.jobs
    made = make_pictures(awkward, tmp_path)
    assert (made.full, made.tiles) == (address(tmp_path / FILE_NAME, tmp_path), None)
    made = make_pictures(tiff, tmp_path)
    assert made.full is not None
    assert made.full.endswith("-full.jpg")
    assert np.abs(jpeg(tmp_path, made.full) - picture(70, 110, seed=3)).mean() < 0.04
    monkeypatch.setattr(pictures, "WHOLE_MEGAPIXELS", 0.001)
    (tmp_path / "again").mkdir()
    tiled = make_pictures(tiff, tmp_path / "again")
    assert tiled.full is None
    assert tiled.tiles is not None


def test_a_pyramid_put_together_is_the_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "WHOLE_MEGAPIXELS", 0.01)
    monkeypatch.setattr(pictures, "TILE", 64)
    monkeypatch.setattr(pictures, "PREVIEW_EDGE", 40)
    pixels = np.kron(picture(15, 22), np.ones((14, 14, 1), np.float32))[:203, :301]
    output = save(tmp_path / "out.png", pixels)
    made = make_pictures(ReportedJob(name="a", state="done", content=output, styles=(), output=output), tmp_path)
    assert made.tiles is not None
    assert made.levels == 3  # 301, 151 and 76 pixels wide: at most twice a preview
    for level, (height, width) in enumerate(((203, 301), (102, 151), (51, 76))):
        rows = [
            np.concatenate(
                [jpeg(tmp_path, f"{made.tiles}/{level}-{row}-{column}.jpg") for column in range(-(-width // 64))], 1
            )
            for row in range(-(-height // 64))
        ]
        whole = np.concatenate(rows, 0)
        assert whole.shape == (height, width, 3)
        assert np.abs(whole[::2, ::2].mean((0, 1)) - pixels.mean((0, 1))).max() < 0.02
        if level == 0:
            assert np.abs(whole - pixels).mean() < 0.01
    count = sum(1 for _ in (tmp_path / made.tiles).iterdir())
    assert count == 4 * 5 + 2 * 3 + 1 * 2


def test_halving_takes_means_of_four_and_repeats_the_last_line() -> None:
    pixels = np.array([[0, 4, 10], [8, 12, 30], [100, 200, 50]], np.uint8)[..., None].repeat(3, 2)
    assert pictures._halved(pixels)[..., 0].tolist() == [[6, 20], [150, 50]]


def test_transparent_results_are_shown_on_white(tmp_path: Path) -> None:
    samples = np.zeros((40, 50, 4), np.uint8)
    samples[:, 25:, 3] = 255
    for name in ("out.png", "out.tif"):
        Image.fromarray(samples).save(tmp_path / name)
        made = make_pictures(
            ReportedJob(name="a", state="done", content=tmp_path / name, styles=(), output=tmp_path / name), tmp_path
        )
        after = jpeg(tmp_path, made.after)
        assert after[:, :20].min() > 0.95
        assert after[:, 30:].max() < 0.05


def test_transparent_inputs_are_shown_on_white(tmp_path: Path) -> None:
    samples = np.zeros((40, 50, 4), np.uint8)
    samples[:, 25:, 3] = 255
    Image.fromarray(samples).save(tmp_path / "in.png")
    Image.fromarray(samples[:, 25:, :3]).save(tmp_path / "out.png")
    inputs = tmp_path / "in.png"
    made = make_pictures(
        ReportedJob(name="a", state="done", content=inputs, styles=(inputs,), output=tmp_path / "out.png"), tmp_path
    )
    for name in (made.before, *made.styles):
        shown = jpeg(tmp_path, name)
        assert shown[:, : shown.shape[1] // 3].min() > 0.95
        assert shown[:, shown.shape[1] * 2 // 3 :].max() < 0.05


def files_with_times(folder: Path) -> dict[str, int]:
    return {str(file.relative_to(folder)): file.stat().st_mtime_ns for file in sorted((folder / FOLDER).rglob("*"))}


def test_pictures_are_made_once_and_again_when_older_than_what_they_show(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    before = files_with_times(tmp_path)
    own = tmp_path / FOLDER / "mine.txt"
    own.write_text("kept")
    write_report(report, tmp_path)
    assert {**before, "report-files/mine.txt": own.stat().st_mtime_ns} == files_with_times(tmp_path)

    save(tmp_path / "plain.png", 1 - picture(600, 700, seed=4))
    later = time.time() + 10
    os.utime(tmp_path / "plain.png", (later, later))
    write_report(report, tmp_path)
    changed = {name for name, moment in files_with_times(tmp_path).items() if before.get(name) not in (None, moment)}
    assert sum(name.endswith("-after.jpg") for name in changed) == 1
    assert sum(name.endswith(".json") for name in changed) == 1
    assert not [name for name in changed if name.endswith(("-style.jpg", "-full.jpg"))]

    victim = next(name for name in before if name.endswith("-full.jpg"))
    (tmp_path / victim).unlink()
    write_report(report, tmp_path)
    assert (tmp_path / victim).is_file()
    assert own.read_text() == "kept"


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"inputs": 3', '{"before": 1}'])
def test_damaged_notes_are_made_again(report: Report, tmp_path: Path, text: str) -> None:
    report = replace(report, jobs=report.jobs[:1])
    write_report(report, tmp_path)
    notes = list((tmp_path / FOLDER).glob("*.json"))
    before = {note: json.loads(note.read_bytes()) for note in notes}
    for note in notes:
        note.write_text(text)
    write_report(report, tmp_path)
    assert {note: json.loads(note.read_bytes()) for note in notes} == before


def test_inputs_that_are_gone_or_broken_leave_gaps(report: Report, tmp_path: Path) -> None:
    (tmp_path / "photo & co.png").unlink()
    (tmp_path / "painting.png").write_bytes(b"no picture")
    (tmp_path / "deep.tif").write_bytes(b"II*\0 broken")
    page = Page(write_report(report, tmp_path))
    assert page.words.count("The result no longer exists or cannot be read.") == 2  # deep and gone
    assert not [image for image in page.all("img") if image.get("class") == "before"]


def test_a_photograph_that_comes_back_is_shown_again(report: Report, tmp_path: Path) -> None:
    photo, away = tmp_path / "photo & co.png", tmp_path / "away.png"
    photo.rename(away)
    assert make_pictures(report.jobs[0], tmp_path).before is None
    away.rename(photo)
    assert make_pictures(report.jobs[0], tmp_path).before is not None


def test_scores_of_a_copy_of_the_photograph(tmp_path: Path) -> None:
    output = save(tmp_path / "out.png", picture(96, 120))
    job = ReportedJob(name="a", state="done", content=output, styles=(output,), output=output)
    scores = {score.name: score for score in make_pictures(job, tmp_path).scores}
    assert scores["Outlines"].value == pytest.approx(1, abs=1e-3)
    assert scores["Palette"].value == pytest.approx(0, abs=0.01)
    assert scores["Palette"].before == pytest.approx(0, abs=0.2)  # the photograph is a preview, rounded
    assert scores["Texture"].value == pytest.approx(1)
    assert "Seams" not in scores  # nobody said where the tiles met


# What was there before


def test_a_page_of_somebody_else_stays(report: Report, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("<p>mine</p>")
    with pytest.raises(OutputError, match="is not a report of this program"):
        write_report(report, tmp_path)
    assert (tmp_path / "report.html").read_text() == "<p>mine</p>"
    assert not (tmp_path / FOLDER).exists()


def test_a_folder_that_is_not_there(report: Report, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        write_report(report, tmp_path / "nowhere")


def test_progress_counts_every_job(report: Report, tmp_path: Path) -> None:
    reported: list[tuple[int, int]] = []
    write_report(report, tmp_path, on_progress=lambda done, count: reported.append((done, count)))
    assert reported == [(done, 7) for done in range(7)]


# Words


def test_a_stop_leaves_pictures_for_later(report: Report, tmp_path: Path) -> None:
    asked: list[float] = []

    def due(seconds: float) -> bool:
        asked.append(seconds)
        return len(asked) > 1

    path = write_report(report, tmp_path, due=due)
    page = Page(path)
    assert not is_complete(path)
    assert asked[0] == 0
    assert asked[1] > 0  # by what the first one took
    assert len(asked) == 3  # there are three pictures; the fourth is gone
    assert len([image for image in page.all("img") if "after" in (image["class"] or "")]) == 1
    assert page.words.count("Not shown yet.") == 2
    assert "2 pictures are painted, but not shown here yet. To show them:" in page.words
    assert f"hires-nst report {shlex.quote(str(tmp_path))}" in page.words
    assert is_complete(write_report(report, tmp_path))
    asked.clear()
    assert is_complete(write_report(report, tmp_path, due=lambda seconds: True))  # all is ready
    assert not is_complete(tmp_path / "none.html")


def test_logs_are_named(report: Report, tmp_path: Path) -> None:
    log = tmp_path / "a log.txt"
    log.touch()
    jobs = tuple(replace(job, log=log) for job in report.jobs)
    links = [tag["href"] for tag in Page(write_report(replace(report, jobs=jobs), tmp_path)).all("a")]
    assert links.count("a%20log.txt") == len(jobs)


def test_settings_that_all_share_and_settings_of_ones_own() -> None:
    first = settings_text(
        {"loss": {"weight": 0.2, "style": "gram"}, "tiles": {"shift": True, "size": None}, "levels": [1, 2]}
    )
    assert first == {"loss.weight": "0.2", "loss.style": "gram", "tiles.shift": "yes", "levels": "1, 2"}
    assert settings_text({"styles": [{"scale": 1}, {"scale": 2}], "none": []}) == {
        "styles.0.scale": "1",
        "styles.1.scale": "2",
    }
    second = {**first, "loss.weight": "0.3"}
    assert shared_settings([first, {}, second]) == {k: v for k, v in first.items() if k != "loss.weight"}
    assert shared_settings([]) == {}


def test_paper_of_a_print() -> None:
    assert paper_of({"output.print.paper": "A3", "output.print.dpi": "300.0"}) == "A3, 300 dpi"
    assert paper_of({}) == ""


def test_failures_are_put_together_by_their_command() -> None:
    jobs = [
        ReportedJob(name=name, state="failed", content=Path("a"), styles=(), output=Path("b"), retry_command=command)
        for name, command in (("1", "x"), ("2", None), ("3", "x"))
    ]
    assert [(command, [job.name for job in retried]) for command, retried in retries(jobs).items()] == [
        ("x", ["1", "3"]), (None, ["2"])
    ]  # fmt: skip


def test_a_thousand_jobs_make_a_page_of_moderate_size(report: Report, tmp_path: Path) -> None:
    many = replace(report, jobs=tuple(replace(report.jobs[0], name=f"picture {n}") for n in range(1000)))
    made = make_pictures(report.jobs[0], tmp_path)
    with counted_calls() as calls:
        html = page_of(many, [made] * 1000, folder=tmp_path)
    assert len(html) < 10e6
    assert calls["call"] < 3000 * 1000  # about 1,000 a job


# From a run


def test_the_report_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Painted by the engine; read from another folder than the one it ran in."""
    import torch

    from hires_nst import stylize
    from hires_nst.config import load_config

    torch.set_num_threads(1)
    save(tmp_path / "photo.png", picture(48, 64, seed=1))
    save(tmp_path / "painting.png", picture(48, 48, seed=2))
    small = {
        "styles": [{"image": "painting.png"}], "checkpoint": {"keep_run": True}, "tiles": {"size": 32},
        "levels": {"min_size": 24, "coarse_steps": 3, "rounds": 2, "steps": 2},
    }  # fmt: skip
    run = tmp_path / "print.png.run"
    monkeypatch.chdir(tmp_path)
    config = load_config(overrides=[small])
    result = stylize("photo.png", "print.png", config=config)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    report = gather(run)
    (job,) = report.jobs
    assert (job.name, job.state, job.width, job.height) == ("print", "done", 64, 48)
    assert (job.content, job.styles, job.output) == (
        tmp_path / "photo.png", (tmp_path / "painting.png",), tmp_path / "print.png"
    )  # fmt: skip
    assert job.settings["levels"]["min_size"] == 24
    assert [(level.rounds, level.steps) for level in job.levels] == [(lv.rounds, lv.steps) for lv in result.levels]
    assert len(job.curves.objective) == 3 + 2 * 2
    first, *later = (value for _, value in job.curves.objective)
    assert min(later) < first
    assert job.borders is not None
    assert job.borders.columns
    made = make_pictures(job, run)
    assert [score.name for score in made.scores] == ["Seams", "Outlines", "Palette", "Texture"]
    page = Page(write_report(report, run))
    assert "print" in page.words
    assert "levels.min_size" in page.words


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("")
    done = CliRunner().invoke(cli.app, ["report", str(tmp_path)])
    assert (done.exit_code, done.stdout.strip()) == (0, str(tmp_path / "report.html"))
    page = (tmp_path / "report.html").read_bytes()
    assert report_package.write(tmp_path) == tmp_path / "report.html"
    assert (tmp_path / "report.html").read_bytes() == page
    assert CliRunner().invoke(cli.app, ["report", str(tmp_path), "--quiet"]).stdout == ""
    assert CliRunner().invoke(cli.app, ["report", str(tmp_path / "none")]).exit_code == 3


def test_the_state_of_a_run(tmp_path: Path) -> None:
    """While it works, when it was stopped, when it is done, and when its picture is gone."""
    import torch

    from hires_nst import load_config, resume, stylize
    from hires_nst.errors import Interrupted
    from hires_nst.events import Event, TileFinished
    from hires_nst.stopping import Stop

    torch.set_num_threads(1)
    save(tmp_path / "photo.png", picture(32, 32, seed=1))
    small = {"checkpoint": {"keep_run": True}, "levels": {"min_size": 16, "coarse_steps": 1, "rounds": 1, "steps": 1}}
    run, stop, states = tmp_path / "print.png.run", Stop(), []

    def state() -> str:
        (job,) = gather(run).jobs
        return job.state

    def listen(event: Event) -> None:
        if isinstance(event, TileFinished) and stop.reason is None:
            states.append(state())
            stop.request("the test")

    with pytest.raises(Interrupted):
        stylize(
            tmp_path / "photo.png", tmp_path / "print.png", styles=tmp_path / "photo.png", stop=stop, on_event=listen,
            config=load_config(overrides=[small]),
        )  # fmt: skip
    states.append(state())
    assert any("interrupted" in word for word in Page(write_report(gather(run), run)).words)
    resume(run)
    states.append(state())
    save(tmp_path / "print.png", picture(32, 32, seed=9))  # retouched
    states.append(state())
    assert gather(run).jobs[0].notes[-1] == "the result was changed since it was painted"
    status = run_status(run)
    assert (status.state, status.done) == ("finished", 1.0)
    reported = "\n".join(status_lines(status))
    assert "state     finished, but the result was changed since" in reported
    assert "resume" not in reported
    (tmp_path / "print.png").unlink()
    states.append(state())
    assert "state     finished, but the result no longer exists" in status_lines(run_status(run))
    assert "The result no longer exists or cannot be read." in Page(write_report(gather(run), run)).words
    assert states == ["running", "interrupted", "done", "done", "done"]


def test_the_report_of_a_log_alone(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_text("")
    (job,) = gather(tmp_path).jobs
    assert job.state == "interrupted"
    assert Page(write_report(gather(tmp_path), tmp_path)).words


def test_other_folders_have_no_report(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has neither a ledger nor events\.jsonl"):
        gather(tmp_path)
    with pytest.raises(InputError, match="nowhere does not exist"):
        gather(tmp_path / "nowhere")
