"""run.json: what a run is made of, and whether it may be resumed here. Does not import torch."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hires_nst import events, files
from hires_nst.backbones.description import Backbone
from hires_nst.config import Config, FileRole, parse_config, picture_settings, to_yaml
from hires_nst.errors import ConfigError, DamagedFile, HiresNstError, InputError, WeightsError
from hires_nst.events import OnEvent
from hires_nst.run import directory
from hires_nst.transfer.levels import LevelPlan

PROGRAM: Literal["hires-nst"] = "hires-nst"
FORMAT: Literal[2] = 2
"""Version of the run directory's layout; it changes when an older program could not resume from it."""

RECORDED = "runtime.precision"
"""Not compared as a setting: the precision that `auto` chose is recorded, and compared."""

RESTART = "`--resume never --overwrite` starts over"


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class InputFile(_Entry):
    """An input file as it was: its path, also relative to the run directory, and its SHA-256."""

    role: FileRole
    path: Path
    relative: str
    sha256: str

    @property
    def error(self) -> type[HiresNstError]:
        """The class of the errors about it."""
        return WeightsError if self.role in ("weights", "network") else InputError

    def places(self, folder: Path) -> tuple[Path, Path]:
        """Where it may be: at its path, or at the same place relative to the run directory."""
        return self.path, (folder.resolve() / self.relative).resolve()


class Machine(_Entry):
    """What the bits of a result may depend on besides the inputs.

    Attributes:
        device: its kind, and its number if one was given.
        model: of the GPU, see `device.model_of`.
    """

    device: str
    model: str = ""
    precision: str
    torch: str
    threads: int

    @property
    def parts(self) -> dict[str, str]:
        """What must be the same for the same bits, by the words for it; in float32 the threads may count too."""
        kind = self.device.partition(":")[0]
        return {
            "device": f"{kind}, {self.model}" if self.model else kind,
            "precision": self.precision,
            "torch": self.torch,
        }


class RunRecord(_Entry):
    """What a run is made of.

    Attributes:
        version: of the program.
        key: random; names the result's temporary file.
        config: the effective configuration as JSON-ready data.
        overwrite: whether an existing output may be replaced.
        written: SHA-256 of the complete result, once it only needs its name; else None.
    """

    program: Literal["hires-nst"] = PROGRAM
    format: Literal[2] = FORMAT
    version: str
    key: str = Field(default_factory=lambda: secrets.token_hex(8))
    created: str = Field(default_factory=lambda: datetime.now().astimezone().isoformat("T", "seconds"))
    config: dict[str, Any]
    inputs: tuple[InputFile, ...]
    output: Path
    output_relative: str
    overwrite: bool
    machine: Machine
    width: int
    height: int
    levels: tuple[LevelPlan, ...]
    written: str | None = None

    @property
    def content(self) -> InputFile:
        """The content image."""
        return next(file for file in self.inputs if file.role == "photograph")

    def save(self, folder: directory.RunDirectory) -> None:
        """Write run.json."""
        files.write_json(folder.record, self.model_dump(mode="json"))

    def is_written(self, folder: Path) -> bool:
        """Whether the result is complete at its place."""
        output = self.output_at(folder)
        return self.written is not None and output.is_file() and files.sha256_of(output) == self.written

    def output_at(self, folder: Path) -> Path:
        """The result's place; where its folder no longer exists, the same place relative to the run directory."""
        if self.output.parent.is_dir():
            return self.output
        place = folder.resolve() / self.output_relative
        return place.parent.resolve() / place.name


def read_record(folder: Path) -> RunRecord:
    """Read run.json.

    Raises:
        DamagedFile: it is damaged. OutputError, DamagedFile: as `directory.check_run`.
        ConfigError: another version of the program, or another program, wrote it.
    """
    path = folder / directory.RECORD
    try:
        data = files.read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        directory.check_run(folder)
        raise
    except DamagedFile:
        _check_version(folder, _first_format(path))
        raise DamagedFile(f"{path} is damaged, so the run cannot be resumed; {RESTART}") from None
    if data.get("program") != PROGRAM:
        raise ConfigError(
            f"{folder} is the run directory of another program, {data.get('program')!r}; give another --run-dir"
        )
    _check_version(folder, data)
    data.pop("checksum")
    try:
        return RunRecord.model_validate(data)
    except ValidationError:
        raise DamagedFile(f"{path} is not a valid run record; {RESTART}") from None


def _check_version(folder: Path, data: Mapping[str, Any]) -> None:
    if data["format"] != FORMAT:
        raise ConfigError(
            f"{folder} was written by version {data.get('version')} of the program, which stores its runs in another "
            f"format; resume it with that version, or {RESTART}"
        )


def _first_format(path: Path) -> dict[str, Any]:
    """The content of a run.json of format 1, whose checksum had another name; else only the present format."""
    with suppress(ValueError, RecursionError):
        data = json.loads(path.read_bytes())
        if isinstance(data, dict) and "seal" in data and data.get("format") == 1:
            return data
    return {"format": FORMAT}


def input_file(role: FileRole, path: Path, *, folder: Path, digests: files.FileDigests) -> InputFile:
    """An input file as it is now; InputError if it cannot be read."""
    return InputFile(role=role, path=path.resolve(), relative=relative(path, folder), sha256=digests.sha256(path))


def registered_network(backbone: Backbone) -> InputFile:
    """A network that was registered from Python, which is no file, as if it were one: its name for the path."""
    return InputFile(role="network", path=Path(backbone.name), relative=backbone.name, sha256=backbone.weights.sha256)


def relative(path: Path, folder: Path) -> str:
    """A path relative to a folder; the absolute path where there is none (another drive)."""
    try:
        return Path(os.path.relpath(path.resolve(), folder.resolve())).as_posix()
    except ValueError:
        return str(path.resolve())


def output_places(output: Path, folder: Path) -> dict[str, Any]:
    """The fields of a record about the result, which stays the link that it may be."""
    return {
        "output": output.parent.resolve() / output.name,
        "output_relative": (Path(relative(output.parent, folder)) / output.name).as_posix(),
    }


def locate(file: InputFile, folder: Path, *, digests: files.FileDigests) -> Path:
    """Where an input file is now: at its place, or at the same place relative to the run directory.

    Raises:
        InputError, WeightsError: it no longer exists, or has changed.
    """
    places = file.places(folder)
    existing = [place for place in places if place.is_file()]
    for place in existing:
        if digests.sha256(place) == file.sha256:
            return place
    if existing:
        raise file.error(
            f"the {file.role} {existing[0]} has changed since the run in {folder} began; put the old file "
            f"back, or {RESTART}"
        )
    raise file.error(f"the {file.role} {file.path} of the run in {folder} no longer exists; put it back, or {RESTART}")


def stored_config(record: RunRecord, folder: Path, *, digests: files.FileDigests) -> Config:
    """The configuration of a run, its files where they are now; raises as `locate` and `parse_config`."""
    config = parse_config(record.config)
    stored = [file for file in record.inputs if file.role != "photograph"]
    # The network's own weights, which come last, are not named in the configuration.
    return config.with_files(
        {named.path: locate(file, folder, digests=digests) for named, file in zip(config.files(), stored, strict=False)}
    )


def with_recorded_pictures(config: Config, record: RunRecord, *, given: Config) -> Config:
    """The configuration with the pictures that its folders had when the run began, where all of them are still there.

    So a picture that was added since does not change the run. `given` is the configuration before folders were listed;
    pictures that it names stay.
    """
    recorded = record.config.get("styles", ())
    if len(recorded) != len(config.styles):
        return config
    styles = []
    for style, named, before in zip(config.styles, given.styles, recorded, strict=True):
        names = [Path(image).name for image in before.get("images", ())]
        here = {image.name: image for image in style.images}
        if names and not named.images and here.keys() >= {*names}:
            style = style.model_copy(update={"images": tuple(here[name] for name in names)})
        styles.append(style)
    return config.model_copy(update={"styles": tuple(styles)})


def check_same(record: RunRecord, folder: Path, *, config: Config, inputs: Sequence[InputFile], version: str) -> None:
    """Refuse to resume with other settings, files or another version than the run began with.

    Raises:
        ConfigError, InputError, WeightsError: the message names what has changed.
    """
    tail = f"resume it as it began with `{directory.resume_command(folder)}`, or {RESTART}"
    if record.version != version:
        raise ConfigError(
            f"the run in {folder} was started by version {record.version} of the program, and this is {version}; "
            f"resume it with that version, or {RESTART}"
        )
    before, now = picture_settings(record.config), picture_settings(config.model_dump(mode="json"))
    changed = [key for key in {**before, **now} if before.get(key) != now.get(key) and key != RECORDED]
    if changed:
        listed = ", ".join(f"{key} ({before.get(key)}, now {now.get(key)})" for key in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        raise ConfigError(f"the run in {folder} was started with other settings: {listed}{more}; {tail}")
    began, given_now = (sum(file.role == "painting" for file in files) for files in (record.inputs, inputs))
    if began != given_now:
        raise InputError(
            f"the number of paintings has changed since the run in {folder} began ({began}, now {given_now}); put the "
            f"pictures of the folder back, or {RESTART}"
        )
    # The settings agree, so the files pair up, except weights that are still to be downloaded, and are checked then.
    for file, given in zip(record.inputs, inputs, strict=False):
        if file.sha256 != given.sha256 and file.role == "network":
            raise file.error(
                f"the network {file.path} that is registered is not the one with which the run in {folder} began; "
                f"register the module with the layers and weights that it had then, or {RESTART}"
            )
        if file.sha256 != given.sha256:
            is_same = given.path in file.places(folder)
            what = "has changed since the run" if is_same else f"is not the {file.path} with which the run"
            raise file.error(f"the {file.role} {given.path} {what} in {folder} began; put that file back, or {RESTART}")


def check_machine(record: RunRecord, now: Machine, *, folder: Path, other: bool, emit: OnEvent) -> RunRecord:
    """The record of a run that goes on here: as it is, or with this machine if it is another one.

    A number of threads that is not the same, or a machine that is not and `other`, are told by a notice.

    Args:
        other: whether the run may go on with another kind or model of device, precision or version of torch.

    Raises:
        ConfigError: it is such a machine, and it may not.
    """
    before, after = record.machine.parts, now.parts
    changed = "; ".join(f"{name} {before[name]}, now {after[name]}" for name in before if before[name] != after[name])
    if changed and not other:
        raise ConfigError(
            f"the run in {folder} began on another machine ({changed}), where the result may have other bits; resume "
            f"it there, or here with --other-machine, or {RESTART}"
        )
    what = f"on another machine ({changed})"
    if not changed and record.machine.threads != now.threads:
        what = f"with another number of threads ({record.machine.threads}, now {now.threads})"
    elif not changed:
        return record
    emit(
        events.Notice(
            f"the run began {what}, so the last bits of the result may not be those of a run without interruption"
        )
    )
    return record.model_copy(update={"machine": now}) if changed else record


def store_config(folder: Path, record: RunRecord, *, before: RunRecord | None) -> bool:
    """Write the record's configuration to config.yaml.

    Returns:
        Whether the file was edited or damaged since it was written from the record `before`.
    """
    path = folder / directory.CONFIG
    text, stored = _config_text(record), path.read_bytes() if path.is_file() else None
    if stored != text:
        files.write_bytes(path, text)
    return before is not None and stored not in (None, text, _config_text(before))


def _config_text(record: RunRecord) -> bytes:
    return to_yaml(parse_config(record.config)).encode()
