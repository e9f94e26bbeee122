"""What a job is: a photograph in a style, wherever it stands and whatever its file is called."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from hires_nst.batch import api
from hires_nst.batch.job import Job, Jobs
from hires_nst.batch.ledger import Ledger
from hires_nst.batch.ledger_schema import Outcome
from hires_nst.batch.runner import Summary
from hires_nst.batch.tasks import Task, WorkerMessage
from hires_nst.config import load_config
from hires_nst.errors import ConfigError
from hires_nst.events import JobChanged, Notice
from hires_nst.files import fingerprint
from tests.batch.fakes import Seen, jobs_of, picture_of, rows, run_with

NUMBERED = "print_{index:03}.png"
moments = count(1_600_000_000)


def put(path: Path, text: str) -> Path:
    """A file whose time of change no other one has, as a test is too quick for the clock of a file system."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    moment = next(moments)
    os.utime(path, (moment, moment))
    return path


class Painting:
    """An executor that paints at once, in this process."""

    workers = 1

    def __init__(self, painted: list[str] | None = None) -> None:
        self.painted = [] if painted is None else painted

    def start(self, task: Task) -> None:
        self.task = task

    def wait(self, seconds: float) -> list[WorkerMessage]:
        task = self.task
        task.folder.mkdir(parents=True, exist_ok=True)
        text = expected(task)
        task.picture.write_text(text)
        self.painted.append(text)
        outcome = Outcome(
            width=20, height=10, seconds=0.1, losses={}, fingerprint=task.fingerprint,
            inputs=tuple(map(fingerprint, task.inputs)), picture=fingerprint(task.picture),
        )  # fmt: skip
        return [(task.id, outcome)]

    def stop(self, reason: str) -> None:
        pass

    def close(self) -> None:
        pass


def expected(job: Job) -> str:
    """The picture of a job."""
    return picture_of(job.content.read_text(), "+".join(one.image.read_text() for one in job.config.paintings))


class Studio:
    """A folder of photographs, paintings, an output folder, and the batches that are run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.photos, self.out = folder, folder / "photos", folder / "out"
        self.style = put(folder / "style.jpg", "style")

    def add(self, *names: str, text: str | None = None) -> None:
        for name in names:
            put(self.photos / name, text or f"photograph {name}")

    def run(self, jobs: Jobs | None = None, *styles: Path, **options: Any) -> tuple[list[str], Seen, Summary]:
        """Run the batch; what was painted, the events, and the summary."""
        painted: list[str] = []
        seen = Seen()
        jobs = jobs or jobs_of(self.photos, self.out, *styles, **options)
        summary = run_with(self.photos, self.out, lambda: Painting(painted), jobs=jobs, on_event=seen.append, **options)
        for job in jobs_of(self.photos, self.out, *styles, **options).jobs if not jobs.choices else jobs.jobs:
            assert (self.out / job.output).read_text() == expected(job)
        return painted, seen, summary

    def names(self, **options: Any) -> dict[str, str]:
        """The picture of each photograph."""
        jobs = jobs_of(self.photos, self.out, **options).jobs
        return {job.content.relative_to(self.photos).as_posix(): job.output for job in jobs}


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def nothing_painted(studio: Studio, **options: Any) -> Seen:
    painted, seen, summary = studio.run(**options)
    assert (painted, summary.exit_code, seen.of(JobChanged)) == ([], 0, [])
    return seen


# Numbers.


@pytest.mark.parametrize("template", [NUMBERED, "{style}/{content}_{index:03}.png"])
def test_a_photograph_that_comes_first_gets_the_next_number(template: str, studio: Studio) -> None:
    studio.add("b.jpg", "c.jpg", "d.jpg")
    studio.run(template=template)
    before = {path: (path.stat().st_mtime_ns, path.read_text()) for path in studio.out.rglob("*.png")}
    studio.add("a.jpg")
    painted, seen, summary = studio.run(template=template)
    assert painted == ["photograph a.jpg as style"]
    assert (summary.exit_code, seen.of(JobChanged)) == (0, [])
    assert {path: (path.stat().st_mtime_ns, path.read_text()) for path in before} == before
    assert studio.names(template=template)["a.jpg"] == template.format(style="style", content="a", index=4)


def test_the_number_of_a_photograph_that_is_gone_stays_its_own(studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg", "c.jpg")
    studio.run(template=NUMBERED)
    (studio.photos / "b.jpg").unlink()
    studio.add("d.jpg")
    painted, _, _ = studio.run(template=NUMBERED)
    assert painted == ["photograph d.jpg as style"]
    assert studio.names(template=NUMBERED) == {
        "a.jpg": "print_001.png",
        "c.jpg": "print_003.png",
        "d.jpg": "print_004.png",
    }
    studio.add("b.jpg")  # it comes back, with another time
    nothing_painted(studio, template=NUMBERED)
    assert studio.names(template=NUMBERED)["b.jpg"] == "print_002.png"


def test_another_template_has_the_same_numbers(studio: Studio) -> None:
    studio.add("b.jpg", "c.jpg")
    studio.run()
    studio.add("a.jpg")
    painted, _, _ = studio.run(template=NUMBERED)
    assert len(painted) == 3
    assert studio.names(template=NUMBERED) == {
        "a.jpg": "print_003.png",
        "b.jpg": "print_001.png",
        "c.jpg": "print_002.png",
    }


def test_patterns_and_order_change_no_number(studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg", "c.jpg")
    studio.run(template=NUMBERED, include=("b*", "c*"))
    studio.run(template=NUMBERED, order="shuffle")
    assert studio.names(template=NUMBERED) == {
        "a.jpg": "print_003.png",
        "b.jpg": "print_001.png",
        "c.jpg": "print_002.png",
    }
    nothing_painted(studio, template=NUMBERED, include=("a*",))


# Names of files.


@pytest.mark.parametrize("template", [NUMBERED, "{content}-{style}.png"])
def test_a_renamed_photograph_keeps_its_picture(template: str, studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg")
    studio.run(template=template)
    name = studio.names(template=template)["a.jpg"]
    (studio.photos / "a.jpg").rename(studio.photos / "z.jpg")
    notes = [event.message for event in nothing_painted(studio, template=template).of(Notice)]
    assert studio.names(template=template)["z.jpg"] == name
    assert (f"its picture keeps the name {name}" in " ".join(notes)) == ("content" in template)
    assert rows(studio.out)[name].content == str(studio.photos / "z.jpg")
    assert not nothing_painted(studio, template=template).of(Notice)  # said once
    studio.add("a.jpg", text="another")
    painted, _, _ = studio.run(template=template)
    assert painted == ["another as style"]
    assert len(set(studio.names(template=template).values())) == 3


def test_exchanged_names_are_two_renamed_photographs(studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg", "c.jpg")
    studio.run(template=NUMBERED)
    for old, new in (("a.jpg", "x"), ("b.jpg", "a.jpg"), ("c.jpg", "b.jpg"), ("x", "c.jpg")):
        (studio.photos / old).rename(studio.photos / new)
    nothing_painted(studio, template=NUMBERED)
    assert studio.names(template=NUMBERED) == {
        "a.jpg": "print_002.png",
        "b.jpg": "print_003.png",
        "c.jpg": "print_001.png",
    }


def test_the_same_content_under_two_names_is_two_jobs(studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg", text="twins")
    painted, _, _ = studio.run(template=NUMBERED)
    assert painted == ["twins as style"] * 2
    (studio.photos / "b.jpg").rename(studio.photos / "c.jpg")
    nothing_painted(studio, template=NUMBERED)
    assert studio.names(template=NUMBERED) == {"a.jpg": "print_001.png", "c.jpg": "print_002.png"}
    shutil.copy(studio.photos / "a.jpg", studio.photos / "0.jpg")
    painted, _, _ = studio.run(template=NUMBERED)
    assert painted == ["twins as style"]
    assert studio.names(template=NUMBERED)["0.jpg"] == "print_003.png"


def test_a_file_in_the_place_of_another(studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg")
    studio.run(template=NUMBERED)
    (studio.photos / "a.jpg").replace(studio.photos / "b.jpg")
    nothing_painted(studio, template=NUMBERED)
    assert studio.names(template=NUMBERED) == {"b.jpg": "print_001.png"}
    studio.add("c.jpg", text="photograph b.jpg")
    nothing_painted(studio, template=NUMBERED)
    assert studio.names(template=NUMBERED) == {"b.jpg": "print_001.png", "c.jpg": "print_002.png"}


def test_a_renamed_photograph_that_was_not_painted_yet_keeps_its_number(studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg")
    with Ledger(studio.out, lease_seconds=1) as ledger:
        jobs = jobs_of(studio.photos, studio.out, template=NUMBERED)
        ledger.name(jobs.choices, digests=jobs.digests)
    (studio.photos / "b.jpg").rename(studio.photos / "0.jpg")
    painted, _, _ = studio.run(template=NUMBERED)
    assert len(painted) == 2
    assert studio.names(template=NUMBERED) == {"0.jpg": "print_002.png", "a.jpg": "print_001.png"}


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_a_folder_that_is_moved_or_copied_as_a_whole(how: Callable[[Path, Path], object], tmp_path: Path) -> None:
    first = Studio(tmp_path / "first")
    first.add("a.jpg", "sub/b.jpg", "sub/a.jpg")
    first.run(recursive=True)
    names = first.names(recursive=True)
    how(tmp_path / "first", tmp_path / "second")
    second = Studio(tmp_path / "second")  # which writes the painting again
    assert not nothing_painted(second, recursive=True).of(Notice)
    assert second.names(recursive=True) == names


def test_a_copy_of_another_name_is_another_photograph(studio: Studio) -> None:
    studio.add("a.jpg", text="twins")
    studio.run(include=("a*",))
    studio.add("b.jpg", text="twins")
    assert len(studio.run(include=("b*",))[0]) == 1


def test_a_folder_of_links_is_the_same_folder(studio: Studio) -> None:
    studio.add("a.jpg")
    studio.run()
    (studio.folder / "link").symlink_to(studio.photos)
    found = jobs_of(studio.folder / "link", studio.out)
    assert [job.output for job in found.jobs] == ["a-style.png"]
    assert not studio.run(found)[0]


# Styles.


def test_a_painting_is_known_by_its_content_too(studio: Studio) -> None:
    studio.add("a.jpg")
    studio.run()
    moved = studio.folder / "starry.jpg"
    studio.style.rename(moved)
    other = put(studio.folder / "other" / "style.jpg", "other")
    jobs = jobs_of(studio.photos, studio.out, moved)
    assert not studio.run(jobs)[0]
    copy = put(studio.folder / "copy" / "starry.jpg", "style")
    assert not studio.run(jobs_of(studio.photos, studio.out, copy))[0]
    jobs = jobs_of(studio.photos, studio.out, moved, other)
    assert [job.output for job in jobs.jobs] == ["a-style.png", "a-style_jpg.png"]
    assert studio.run(jobs)[0] == ["photograph a.jpg as other"]


def test_pairs_that_change_are_other_jobs(studio: Studio) -> None:
    art = [put(studio.folder / f"{name}.jpg", name) for name in "stu"]
    studio.add("a.jpg", "b.jpg", "c.jpg")
    options: dict[str, Any] = {"match": "zip", "template": "{content}.png"}
    assert len(studio.run(None, *art, **options)[0]) == 3
    again = [art[1], art[0], art[2]]
    painted, seen, _ = studio.run(None, *again, **options)
    assert painted == ["photograph a.jpg as t", "photograph b.jpg as s"]
    assert not seen.of(JobChanged)
    assert rows(studio.out).keys() == {"a.png", "b.png", "c.png", "a_2.png", "b_2.png"}
    for pairs in (art, again):
        assert not studio.run(None, *pairs, **options)[0]


# Lists.


def test_a_list_in_another_order(studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg", "c.jpg")
    names = studio.folder / "list.txt"
    for order, painted in (("ca", 2), ("abc", 1), ("ccba", 0)):
        names.write_text("".join(f"photos/{name}.jpg\n" for name in order))
        jobs = jobs_of(names, studio.out, template=NUMBERED)
        assert len(studio.run(jobs)[0]) == painted
        assert {job.content.stem: job.index for job in jobs.jobs}.items() <= {"c": 1, "a": 2, "b": 3}.items()
    assert len(jobs.jobs) == 3


JOBS = {
    "plain": "{content: photos/a.jpg, style: style.jpg}",
    "large": "{content: photos/a.jpg, style: style.jpg, set: {output: {long_edge: 90}}}",
    "other": "{content: photos/b.jpg, style: style.jpg}",
    "own": '{content: photos/b.jpg, style: style.jpg, output: "cover.png"}',
}


def listed(studio: Studio, *names: str) -> Jobs:
    file = studio.folder / "jobs.yaml"
    file.write_text("\n".join(["batch: {template: 'p{index}.png'}", "jobs:", *(f"  - {JOBS[name]}" for name in names)]))
    return api.jobs(None, studio.out, config=load_config(file))


def outputs(jobs: Jobs) -> list[str]:
    return [job.output for job in jobs.jobs]


def test_jobs_of_a_configuration_in_another_order(studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg")
    jobs = listed(studio, "large", "other")
    assert outputs(jobs) == ["p1.png", "p2.png"]
    studio.run(jobs)
    jobs = listed(studio, "own", "plain", "other", "large")
    assert outputs(jobs) == ["cover.png", "p3.png", "p2.png", "p1.png"]
    painted, seen, _ = studio.run(jobs)
    assert (len(painted), seen.of(JobChanged)) == (2, [])
    assert outputs(listed(studio, "large", "other", "own", "plain")) == ["p1.png", "p2.png", "cover.png", "p3.png"]
    assert listed(studio, "other", "other").left_out == {"photographs named twice": 1}
    JOBS["own settings changed"] = JOBS["large"].replace("90", "80")
    assert outputs(listed(studio, "own settings changed", "plain")) == ["p1.png", "p3.png"]


# Names that are alike.


def test_files_that_differ_in_the_suffix(studio: Studio) -> None:
    studio.add("a.jpg", "a.png", "b.jpg")
    studio.run()
    assert studio.names() == {"a.jpg": "a_jpg-style.png", "a.png": "a_png-style.png", "b.jpg": "b-style.png"}
    studio.add("b.png")
    studio.run()
    assert studio.names() == {
        "a.jpg": "a_jpg-style.png", "a.png": "a_png-style.png", "b.jpg": "b-style.png", "b.png": "b_png-style.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.jpg", "A.JPG"], ["a-style.png", "A-style_2.png"]),
        (["A.jpg", "a.png"], ["A_jpg-style.png", "a_png-style.png"]),
        (["\u00e9.jpg", "e\u0301.jpg"], ["\u00e9-style.png", "e\u0301-style_2.png"]),
        (["x/a.jpg", "y/a.jpg"], ["x_a-style.png", "y_a-style.png"]),
        (["x/a.jpg", "y/a.png"], ["a_jpg-style.png", "a_png-style.png"]),
        (["x/a.jpg", "y/a.jpg", "y/a.png"], ["x_a_jpg-style.png", "y_a_jpg-style.png", "y_a_png-style.png"]),
        (["1/x/a.jpg", "2/x/a.jpg"], ["a-style.png", "a-style_2.png"]),
        (["a.jpg", "a.png", "a_png.jpg"], ["photos_a_jpg-style.png", "photos_a_png-style.png", "a_png-style.png"]),
        (["a\nb.jpg", "a_b.jpg", "a\x1bb.jpg"], ["a_b-style.png", "a_b-style_2.png", "a_b-style_3.png"]),
        ([".a.jpg", "\u202ea.jpg"], ["photos_.a-style.png", "photos__a-style.png"]),
    ],
)
def test_names_that_are_alike(names: Sequence[str], expected: Sequence[str], studio: Studio) -> None:
    studio.add(*names)
    paths = [studio.photos / name for name in names]
    config = load_config()
    found = [api.jobs(path, studio.out, styles=studio.style, config=config).choices[0] for path in paths]
    with Ledger(studio.out, lease_seconds=1) as ledger:
        named = ledger.name(found, digests=api.jobs(paths[0], studio.out, styles=studio.style).digests)
        assert [job.output for job in named.jobs] == list(expected)
        again = ledger.name(found[::-1], digests=api.jobs(paths[0], studio.out, styles=studio.style).digests)
    assert [job.output for job in again.jobs] == list(expected)[::-1]


def test_a_newcomer_is_told_from_the_one_with_the_plain_name(studio: Studio) -> None:
    studio.add("a.jpg")
    studio.run()
    for folder, name in (("more", "a.jpg"), ("again", "a.png")):
        put(studio.folder / folder / name, folder)
        jobs = jobs_of(studio.folder / folder, studio.out)
        studio.run(jobs)
        assert outputs(jobs) == [{"more": "more_a-style.png", "again": "a_png-style.png"}[folder]]


def test_paintings_that_are_alike(studio: Studio) -> None:
    studio.add("a.jpg", "a.png")
    art = [put(studio.folder / name, name) for name in ("s.jpg", "s.png", "x/s.png")]
    jobs = jobs_of(studio.photos, studio.out, *art)
    assert len(set(outputs(jobs))) == 6
    studio.run(jobs)


def test_a_template_that_lacks_a_field_is_refused(studio: Studio) -> None:
    studio.add("a.jpg", "b.jpg")
    art = put(studio.folder / "t.jpg", "t")
    for template, styles in (("{style}.png", [art]), ("{content}.png", [art, studio.style]), ("x.png", [art])):
        with pytest.raises(ConfigError, match="would both become"):
            jobs_of(studio.photos, studio.out, *styles, template=template)


def test_long_names_are_shortened_each_by_itself(studio: Studio) -> None:
    names = [f"{'x' * 240}{n}.jpg" for n in range(2)] + ["\N{SUNFLOWER}" * 62 + ".jpg", "a.jpg", f"{'d' * 250}/b.jpg"]
    studio.add(*names)
    painted, _, summary = studio.run(recursive=True)
    assert (len(painted), summary.exit_code) == (5, 0)
    found = studio.names(recursive=True)
    assert found["a.jpg"] == "a-style.png"
    assert all(name.endswith("-style.png") for name in found.values())
    assert all(len(os.fsencode(part)) <= 233 for name in found.values() for part in Path(name).parts)
    assert len(set(found.values())) == 5
    nothing_painted(studio, recursive=True)


# Together.


def test_processes_that_name_at_once_agree(studio: Studio) -> None:
    studio.add("b.jpg", "c.jpg")
    first = jobs_of(studio.photos, studio.out, template=NUMBERED)
    studio.add("a.jpg")
    second = jobs_of(studio.photos, studio.out, template=NUMBERED)
    with Ledger(studio.out, lease_seconds=1) as one, Ledger(studio.out, lease_seconds=1) as other:
        for jobs in (first, second):
            for ledger in (one, other):
                named = ledger.name(jobs.choices, digests=jobs.digests)
                numbers = {job.content.stem: job.index for job in named.jobs}
                assert numbers.items() <= {"b": 1, "c": 2, "a": 3}.items()


class Changes(RuleBasedStateMachine):
    """Photographs that come, go, and change names, with runs between: none is painted twice.

    A file with other content at the path of one that is gone is the same job, which is painted again.
    """

    @initialize(template=st.sampled_from([NUMBERED, "{content}.png"]))
    def begin(self, template: str) -> None:
        self.place = tempfile.TemporaryDirectory()
        self.studio, self.template = Studio(Path(self.place.name)), template
        self.studio.photos.mkdir()
        self.numbers: dict[str, int] = {}

    names = st.sampled_from(["a.jpg", "b.jpg", "c.png", "sub/a.jpg", "a.png"])

    @rule(name=names, text=st.sampled_from(["one", "two", "red"]))
    def add(self, name: str, text: str) -> None:
        if not (self.studio.photos / name).exists():
            self.studio.add(name, text=text)

    @rule(name=names)
    def remove(self, name: str) -> None:
        (self.studio.photos / name).unlink(missing_ok=True)

    @rule(name=names, new=names)
    def rename(self, name: str, new: str) -> None:
        if (self.studio.photos / name).exists():
            (self.studio.photos / new).parent.mkdir(exist_ok=True)
            (self.studio.photos / name).replace(self.studio.photos / new)

    @rule(name=names, new=names)
    def exchange(self, name: str, new: str) -> None:
        one, other = self.studio.photos / name, self.studio.photos / new
        if one.exists() and other.exists() and one != other:
            one.rename(self.studio.folder / "x")
            other.rename(one)
            (self.studio.folder / "x").rename(other)

    @rule(order=st.sampled_from(["name", "shuffle"]))
    def run(self, order: str) -> None:
        if not any(path.is_file() for path in self.studio.photos.rglob("*")):
            return
        there = Counter(path.read_text() for path in self.studio.out.rglob("*.png"))
        options: dict[str, Any] = {"template": self.template, "recursive": True, "changed": "redo"}
        painted, _, summary = self.studio.run(order=order, **options)
        jobs = jobs_of(self.studio.photos, self.studio.out, **options).jobs
        assert summary.exit_code == 0
        assert Counter(painted) == Counter(map(expected, jobs)) - there
        with sqlite3.connect(self.studio.out / ".hires-nst" / "ledger.sqlite") as database:
            numbers = dict(database.execute("SELECT output, subject FROM names"))
        assert numbers.items() >= self.numbers.items()
        assert len(set(numbers.values())) == len(numbers)
        assert all(numbers[job.output] == job.index for job in jobs)
        self.numbers = numbers
        if self.template == NUMBERED:
            assert all(Path(name).name == NUMBERED.format(index=number) for name, number in numbers.items())

    def teardown(self) -> None:
        if hasattr(self, "place"):
            self.place.cleanup()


TestChanges = Changes.TestCase
TestChanges.settings = settings(max_examples=15, stateful_step_count=15, deadline=None)
