"""Atomic writes, fingerprints, and files that carry a checksum."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hires_nst.errors import DamagedFile, HiresNstError, InputError, OutputError, ResourceError
from hires_nst.files import (
    FileDigests,
    FileFingerprint,
    atomic_write,
    check_exists,
    fingerprint,
    is_unchanged,
    make_folder,
    read_json,
    sha256_of,
    write_checked,
    write_json,
)


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: type[BaseException]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def write(file: BinaryIO) -> None:
        file.write(b"half")
        assert any(entry.name.startswith(".") for entry in tmp_path.iterdir())
        raise failure

    with pytest.raises(failure):
        atomic_write(path, write, overwrite=True)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("code", "error", "sentence"),
    [
        (errno.ENOSPC, ResourceError, "no space left on the disk of .*a.bin"),
        (errno.EDQUOT, ResourceError, "no space left"),
        (errno.EACCES, OutputError, "may not be written"),
        (errno.EROFS, OutputError, "cannot be written .Read-only file system"),
    ],
)
def test_errors_of_the_system(tmp_path: Path, code: int, error: type[HiresNstError], sentence: str) -> None:
    def write(file: BinaryIO) -> None:
        raise OSError(code, os.strerror(code))

    with pytest.raises(error, match=sentence):
        atomic_write(tmp_path / "a.bin", write, overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"

    def write(_: BinaryIO) -> None:
        path.write_bytes(b"other")

    with pytest.raises(OutputError, match="--overwrite"):
        atomic_write(path, write, overwrite=False)
    assert path.read_bytes() == b"other" and list(tmp_path.iterdir()) == [path]


def test_an_atomic_write_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content in (b"one", b"two"):
        atomic_write(path, lambda file, content=content: file.write(content), overwrite=True)  # type: ignore[misc]
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@given(before=st.binary(max_size=20), after=st.binary(max_size=20))
def test_a_fingerprint_shows_whether_a_file_changed(before: bytes, after: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x"
        file.write_bytes(before)
        old = fingerprint(file)
        assert old.sha256 == sha256_of(file)
        assert is_unchanged(file, old)
        file.write_bytes(after)
        os.utime(file, ns=(1, old.modified + 1))
        assert is_unchanged(file, old) == (before == after)


def test_every_damage_of_a_json_file_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    checksum = write_json(path, {"text": "ä\udcff", "list": [1, None]})
    assert read_json(path) == {"text": "ä\udcff", "list": [1, None], "checksum": checksum}
    intact = path.read_bytes()
    assert json.loads(intact)["checksum"] == checksum
    damaged = [
        intact[:at] + bytes([intact[at] ^ 1 << bit]) + intact[at + 1 :] for at in range(len(intact)) for bit in (0, 6)
    ]
    for data in (
        *damaged,
        intact[:-1],
        b"",
        b"[]",
        b"7",
        b'{"checksum": 7}',
        b'{"checksum": ""}',
        b"\xff",
        b"[" * 100_000,
    ):
        path.write_bytes(data)
        with pytest.raises(DamagedFile, match=r"a\.json is damaged"):
            read_json(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_json(path)


def test_a_write_that_fails_between_pieces_leaves_nothing(tmp_path: Path) -> None:
    def pieces() -> Iterator[memoryview]:
        yield memoryview(b"one")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checked(tmp_path / "a.bin", b"head", pieces=pieces())
    assert list(tmp_path.iterdir()) == []


def test_folders_are_made_with_their_parents(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be written"):
        make_folder(tmp_path / "file" / "c")


def test_digests_are_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, digests, read = tmp_path / "x", FileDigests(), list[Path]()

    def counted(path: Path) -> FileFingerprint:
        read.append(path)
        return fingerprint(path)

    monkeypatch.setattr("hires_nst.files.fingerprint", counted)
    with pytest.raises(InputError, match="x cannot be read"):
        digests.sha256(file)
    file.write_text("one")
    first = digests.sha256(file)
    file.write_text("two")  # at once, so that the time of change may be the same
    second = digests.sha256(file)
    assert first != second
    os.utime(file, ns=(1, 1))
    read.clear()
    assert {digests.sha256(file) for _ in range(3)} == {second}
    assert len(read) == 1
    file.write_text("one")
    assert digests.sha256(file) == first


# Symbolic links.


LINKS = {
    "to a file": ("a.bin -> real/x.bin", "real/x.bin", True),
    "to nothing": ("a.bin -> real/new.bin", "real/new.bin", False),
    "a chain": ("a.bin -> real/b.bin, real/b.bin -> ../c.bin, c.bin -> real/x.bin", "real/x.bin", True),
    "a chain to nothing": ("a.bin -> b.bin, b.bin -> real/new.bin", "real/new.bin", False),
    "absolute": ("a.bin -> {folder}/real/x.bin", "real/x.bin", True),
    "of another name": ("a.bin -> real/x", "real/x", False),
}


def links(folder: Path, text: str) -> list[Path]:
    """Make links such as `a -> b, b -> c`, with a file real/x.bin."""
    (folder / "real").mkdir()
    (folder / "real" / "x.bin").write_bytes(b"before")
    made = []
    for link in text.format(folder=folder).split(", "):
        name, _, target = link.partition(" -> ")
        (folder / name).symlink_to(target)
        made.append(folder / name)
    return made


@pytest.mark.parametrize("kind", LINKS)
def test_a_link_is_written_through(kind: str, tmp_path: Path) -> None:
    text, target, exists = LINKS[kind]
    made = links(tmp_path, text)
    places = [path.readlink() for path in made]

    def write(content: bytes, *, overwrite: bool) -> None:
        atomic_write(tmp_path / "a.bin", lambda file: file.write(content), overwrite=overwrite)

    if exists:
        with pytest.raises(OutputError, match="--overwrite"):
            write(b"new", overwrite=False)
        assert (tmp_path / target).read_bytes() == b"before"
    write(b"new", overwrite=exists)
    assert [path.readlink() for path in made] == places
    assert (tmp_path / target).read_bytes() == (tmp_path / "a.bin").read_bytes() == b"new"
    assert not list(tmp_path.rglob(".*.part"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a.bin -> a.bin", "leads back to itself"),
        ("a.bin -> b.bin, b.bin -> a.bin", "leads back to itself"),
        ("a.bin -> none/x.bin", "none/x.bin cannot be written .No such file"),
        ("a.bin -> real/x.bin/y.bin", "y.bin cannot be written .Not a directory"),
    ],
)
def test_a_link_that_leads_nowhere_is_refused(text: str, sentence: str, tmp_path: Path) -> None:
    made = links(tmp_path, text)
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=sentence):
            atomic_write(tmp_path / "a.bin", lambda file: file.write(b"new"), overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(path.name for path in made), "real"])


def test_a_folder_is_made_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real/deep")
    make_folder(tmp_path / "link")
    make_folder(tmp_path / "link" / "inside")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "deep" / "inside").is_dir()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(OutputError, match="leads back to itself"):
        make_folder(tmp_path / "circle")


def test_a_url_of_a_file_is_answered_with_its_path() -> None:
    for url in ("file:///no/photo.jpg", "file://no/photo.jpg"):
        with pytest.raises(InputError, match=r"alone: /no/photo[.]jpg"):
            check_exists(Path(url))
