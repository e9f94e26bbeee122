"""Photographs with their paintings, and the folder in which their pictures are kept from one run to the next."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from common import ROOT, SAMPLES
from PIL import Image

from hires_nst.files import sha256_of
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.reading import read_picture
from hires_nst.imageio.resize import resize_pixels

SHARED, WORK = ROOT.parent / "shared", ROOT / "build" / "quality"
_SHARED_PAIRS = (
    ("kodim01", "kandinsky_composition_vii"), ("kodim04", "delaunay_portrait"), ("kodim05", "munch_the_scream"),
    ("kodim13", "van_gogh_starry_night"), ("kodim19", "turner_shipwreck"), ("kodim23", "hokusai_great_wave"),
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """The files of a photograph and a painting."""

    name: str
    content: Path
    style: Path

    @property
    def digests(self) -> dict[str, str]:
        """What tells whether the files are still the same."""
        return {"content": sha256_of(self.content), "style": sha256_of(self.style)}


DEMO = Pair("landscape-flow_strokes", SAMPLES / "contents/landscape.jpg", SAMPLES / "styles/flow_strokes.jpg")


def shared_pair(shared: Path, content: str, style: str) -> Pair:
    """A photograph and a painting of the shared folder, by their names."""
    images = shared / "images"
    return Pair(f"{content}-{style}", images / f"photos/{content}.png", images / f"paintings/{style}.jpg")


def known_pairs(shared: Path, names: Sequence[str] | None = None) -> list[Pair]:
    """The demo's pair and six of the shared folder; see `chosen`."""
    return chosen([DEMO, *(shared_pair(shared, *names) for names in _SHARED_PAIRS)], names)


def chosen(pairs: Sequence[Pair], names: Sequence[str] | None = None) -> list[Pair]:
    """The pairs whose name begins with one of `names`, all when there are none.

    A pair whose files are not there is left out, which a line says.

    Raises:
        SystemExit: none is left.
    """
    pairs = [pair for pair in pairs if names is None or pair.name.startswith(tuple(names))]
    found = [pair for pair in pairs if pair.content.is_file() and pair.style.is_file()]
    for pair in pairs:
        if pair not in found:
            print(f"{pair.name} is left out: {pair.content} or {pair.style} is not there")
    if not found:
        raise SystemExit("no pair of pictures is there")
    return found


def pixels_of(file: Path) -> Floats:
    """A picture's pixels, (H, W, 3)."""
    return read_picture(file, max_megapixels=500).pixels


def with_long_edge(pixels: Floats, size: int) -> Floats:
    """A picture brought to a long edge of `size`, smaller or larger."""
    height, width = pixels.shape[:2]
    factor = size / max(height, width)
    return resize_pixels(pixels, (max(1, round(width * factor)), max(1, round(height * factor))))


def save(pixels: Floats, file: Path) -> None:
    """Write a PNG of 8 bits."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(file)


@dataclass(frozen=True)
class Painted:
    """A picture in the folder.

    Attributes:
        seconds, cpu_seconds: what it took; None where it was interrupted, so that nobody knows.
    """

    file: Path
    seconds: float | None
    cpu_seconds: float | None


Paint = Callable[[Path, bool], bool]
"""Paints a picture into a file. It is told whether an interrupted call had the same settings, so that what that has
left may be continued, and says whether it did."""


def painted(file: Path, settings: Mapping[str, Any], paint: Paint) -> Painted:
    """A picture of the folder, which is painted unless it is there with the same settings.

    Args:
        file: where it is; a record of the settings is written next to it, before the picture.
        settings: all that the picture depends on, for JSON.
    """
    record_file = file.with_suffix(".json")
    wanted = json.loads(json.dumps(settings))
    record = json.loads(record_file.read_text()) if record_file.is_file() else {}
    same = record.get("settings") == wanted
    if same and file.is_file() and "seconds" in record:
        return Painted(file, record["seconds"], record["cpu_seconds"])
    file.parent.mkdir(parents=True, exist_ok=True)
    record_file.write_text(json.dumps({"settings": wanted}, indent=1))
    began, cpu = time.monotonic(), time.process_time()
    continued = paint(file, same)
    seconds, cpu_seconds = (None, None) if continued else (time.monotonic() - began, time.process_time() - cpu)
    record_file.write_text(json.dumps({"settings": wanted, "seconds": seconds, "cpu_seconds": cpu_seconds}, indent=1))
    return Painted(file, seconds, cpu_seconds)


def kept(file: Path) -> Painted | None:
    """A picture that another script has left there, if it is finished."""
    record_file = file.with_suffix(".json")
    record = json.loads(record_file.read_text()) if record_file.is_file() else {}
    if not file.is_file() or "seconds" not in record:
        return None
    return Painted(file, record["seconds"], record["cpu_seconds"])
