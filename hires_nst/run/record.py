"""run.json: what a run is made of, and whether it may go on here. No torch in sight."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hires_nst import files
from hires_nst.config import Config, FileRole, parse_config, picture_settings, to_yaml
from hires_nst.errors import ConfigError, DamagedFile, HiresNstError, InputError, WeightsError
from hires_nst.run import directory
from hires_nst.transfer.levels import LevelPlan

PROGRAM: Literal["hires-nst"] = "hires-nst"
FORMAT: Literal[2] = 2
"""Version of the run directory's layout; it changes when an older program could not resume from it."""

RECORDED = "runtime.precision"
"""Not compared as a setting: the record says which precision `auto` came to, and that is compared."""

ANEW = "`--resume never --overwrite` starts anew"

Role = Literal["photograph"] | FileRole


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(_Entry):
    """An input file as it was: where, also seen from the run directory, and its SHA-256."""

    role: Role
    path: Path
    relative: str
    sha256: str


class Machine(_Entry):
    """On what the bits of a result may depend besides the inputs."""

    device: str
    precision: str
    torch: str
    threads: int


class RunRecord(_Entry):
    """What a run is made of.

    Attributes:
        version: of the program.
        key: random; names the result's temporary file.
        config: the effective configuration as JSON-ready data.
        output, output_relative: where the result goes.
        overwrite: whether a file there may be replaced.
        written: SHA-256 of the complete result, when only its last name was left to be given; else None.
    """

    program: Literal["hires-nst"] = PROGRAM
    format: Literal[2] = FORMAT
    version: str
    key: str
    created: str
    config: dict[str, Any]
    sources: tuple[Source, ...]
    output: Path
    output_relative: str
    overwrite: bool
    machine: Machine
    width: int
    height: int
    levels: tuple[LevelPlan, ...]
    written: str | None = None

    def save(self, folder: directory.RunDirectory) -> None:
        """Write run.json."""
        files.write_json(folder.record, self.model_dump(mode="json"))

    def is_written(self, folder: Path) -> bool:
        """Whether the result is complete at its place."""
        output = self.output_at(folder)
        return self.written is not None and output.is_file() and digest(output) == self.written

    def output_at(self, folder: Path) -> Path:
        """The result's place; of a run directory that was moved with its surroundings, seen from there."""
        if self.output.parent.is_dir():
            return self.output
        return (folder.resolve() / self.output_relative).resolve()


def new_record(**parts: Any) -> RunRecord:
    """A record of a run that begins now."""
    return RunRecord(key=secrets.token_hex(8), created=datetime.now().astimezone().isoformat("T", "seconds"), **parts)


def read_record(folder: Path) -> RunRecord:
    """What run.json says.

    Raises:
        DamagedFile: it is damaged. OutputError, DamagedFile: as `directory.check_run`.
        ConfigError: a newer version of the program or another one wrote it.
    """
    path = folder / directory.RECORD
    try:
        data = files.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        directory.check_run(folder)
        raise
    except DamagedFile:
        _check_version(folder, _first_format(path))
        raise DamagedFile(f"{path} is damaged, so the run cannot go on; {ANEW}") from None
    if data.get("program") != PROGRAM:
        raise ConfigError(f"{folder} is the run directory of another program, {data.get('program')!r}")
    _check_version(folder, data)
    data.pop("checksum")
    try:
        return RunRecord.model_validate(data)
    except ValidationError:
        raise DamagedFile(f"{path} does not say what it should; {ANEW}") from None


def _check_version(folder: Path, data: Mapping[str, Any]) -> None:
    if data["format"] != FORMAT:
        raise ConfigError(
            f"{folder} was written by version {data.get('version')} of the program, which stores its runs in another "
            f"format; resume it with that version, or {ANEW}"
        )


def _first_format(path: Path) -> dict[str, Any]:
    """What run.json of format 1 says, whose checksum had another name; of any other file only the present format."""
    with suppress(ValueError, RecursionError):
        data = json.loads(path.read_bytes())
        if isinstance(data, dict) and "seal" in data and data.get("format") == 1:
            return data
    return {"format": FORMAT}


def digest(path: Path) -> str:
    """The SHA-256 of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return files.sha256_of(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the name and the permissions") from None


def source(role: Role, path: Path, folder: Path) -> Source:
    """An input file as it is now."""
    return Source(role=role, path=path.resolve(), relative=relative(path, folder), sha256=digest(path))


def relative(path: Path, folder: Path) -> str:
    """A path seen from a folder; the absolute path where there is no way (another drive)."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return str(path.resolve())


def found(known: Source, folder: Path) -> Path:
    """Where an input file is now: at its place, or at the same place seen from the run directory.

    Raises:
        InputError, WeightsError: it is gone, or is not what it was.
    """
    places = [known.path, (folder.resolve() / known.relative).resolve()]
    there = [place for place in places if place.is_file()]
    for place in there:
        if digest(place) == known.sha256:
            return place
    kind = WeightsError if known.role == "weights" else InputError
    if there:
        raise kind(
            f"the {known.role} {there[0]} has changed since the run in {folder} began; put the old file back, or {ANEW}"
        )
    raise kind(f"the {known.role} {known.path} of the run in {folder} is not there any more; put it back, or {ANEW}")


def stored_config(record: RunRecord, folder: Path) -> Config:
    """The configuration of a run, its files where they are now.

    Raises:
        As `found`; ConfigError: the schema does not know it.
    """
    config = parse_config(record.config)
    known = [source for source in record.sources if source.role != "photograph"]
    # The weights that the network has on this machine, the last source, are not named in the configuration.
    return config.with_files({file.path: found(it, folder) for file, it in zip(config.files(), known, strict=False)})


def check_same(record: RunRecord, folder: Path, config: Config, sources: Sequence[Source], version: str) -> None:
    """Refuse to go on with other settings, files or another program than the run began with.

    Raises:
        ConfigError, InputError, WeightsError: one sentence that names what has changed.
    """
    tail = f"go on as it began with `{directory.resume_command(folder)}`, or {ANEW}"
    if record.version != version:
        raise ConfigError(
            f"the run in {folder} was begun by version {record.version} of the program, and this is {version}; go on "
            f"with that version, or {ANEW}"
        )
    before, now = picture_settings(record.config), picture_settings(config.model_dump(mode="json"))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and key != RECORDED]
    if changed:
        told = ", ".join(f"{key} ({before.get(key)}, now {now.get(key)})" for key in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise ConfigError(f"the run in {folder} has other settings: {told}{more}; {tail}")
    # The settings agree, so the files pair up, but for weights that are still to be downloaded, and checked then.
    for known, given in zip(record.sources, sources, strict=False):
        if known.sha256 != given.sha256:
            same = given.path in (known.path, (folder.resolve() / known.relative).resolve())
            what = "has changed since the run" if same else f"is not the {known.path} with which the run"
            kind: type[HiresNstError] = WeightsError if known.role == "weights" else InputError
            raise kind(f"the {known.role} {given.path} {what} in {folder} began; put that file back, or {ANEW}")


def store_config(folder: Path, record: RunRecord, before: RunRecord | None) -> bool:
    """Write the record's configuration to config.yaml.

    Args:
        before: the record that the file was written from, if there is one.

    Returns:
        Whether the file was edited or damaged since.
    """
    path = folder / directory.CONFIG
    text, stored = config_text(record), path.read_bytes() if path.is_file() else None
    if stored != text:
        files.atomic_write(path, lambda file: file.write(text), overwrite=True)
    return before is not None and stored not in (None, text, config_text(before))


def config_text(record: RunRecord) -> bytes:
    """The record's configuration as YAML."""
    return to_yaml(parse_config(record.config)).encode()
