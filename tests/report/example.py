"""A small batch with everything that a report has to cope with, for the tests of the report."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
from PIL import Image

from hires_nst.imageio.picture import Floats
from hires_nst.imageio.writing import Encoding, write_picture
from hires_nst.report.model import Report, ReportedJob
from hires_nst.run.history import Borders, LevelRecord, LossCurves

AWKWARD = """né "quoted" & <script>alert('x')</script> 100%#1?🎨"""
FILE_NAME = """né "q" & <b> 100%#1? 🎨.png"""
RETRY = """hires-nst batch 'my photos/' -o "prints & more/" --retry-failed"""
CURVES = LossCurves(objective=((1, 3.0), (2, 0.5), (3, 0.3), (4, 0.2)), style=((2, 0.9), (3, 0.1)))


def picture(height: int, width: int, seed: int = 0) -> Floats:
    """Noise that only a view of pixel by pixel shows as it is, in smooth colours."""
    rng = np.random.default_rng(seed)
    ramp = np.linspace(0, 0.5, width, dtype=np.float32)[None, :, None] * np.ones((height, 1, 3), np.float32)
    return np.clip(ramp + 0.5 * rng.random((height, width, 3), np.float32), 0, 1)


def save(path: Path, pixels: Floats) -> Path:
    Image.fromarray(np.rint(pixels * 255).astype(np.uint8)).save(path)
    return path


def batch(folder: Path) -> Report:
    """Four done (PNG, 16-bit TIFF, one under an awkward name, one without its files), two failed, one skipped."""
    photo = save(folder / "photo & co.png", picture(90, 160, seed=1))
    painting = save(folder / "painting.png", picture(80, 80, seed=2))
    awkward, tiff = folder / FILE_NAME, folder / "deep.tif"
    save(awkward, picture(100, 120))
    encoding = Encoding(dpi=300, bit_depth=16, quality=95, compression="deflate")
    write_picture(tiff, picture(70, 110, seed=3), encoding=encoding)
    plain = save(folder / "plain.png", picture(600, 700, seed=4))

    def done(name: str, output: Path, width: int, height: int, weight: float = 0.2) -> ReportedJob:
        return ReportedJob(
            name=name, state="done", content=photo, styles=(painting,), output=output, width=width, height=height,
            seconds=75.0, curves=CURVES,
            settings={
                "loss": {"content_weight": weight, "style": "gram"},
                "styles": [{"image": str(painting), "weight": 1.0}],
                "tiles": {"shift": True, "overlap": None},
            },
            levels=(
                LevelRecord(width=60, height=50, rounds=1, steps=2, tiles=1, begins=0, seconds=5.0),
                LevelRecord(width=120, height=100, rounds=1, steps=2, tiles=4, begins=2, seconds=None, number=2),
            ),
            borders=Borders((48,), (64,)), notes=("a note & more",),
        )  # fmt: skip

    def not_done(name: str, state: str, error: str, retry: str | None = None) -> ReportedJob:
        return ReportedJob(
            name=name, state=state, content=folder / f"{name}.jpg", styles=(painting,), output=folder / "x.png",  # type: ignore[arg-type]
            error=error, retry_command=retry, attempts=2,
        )  # fmt: skip

    start = datetime(2026, 11, 20, 21, 0, tzinfo=timezone.utc)
    return Report(
        title="Prints & <i>more</i>",
        jobs=(
            done(AWKWARD, awkward, 120, 100),
            not_done("broken <b>", "failed", 'broken <b>.jpg is damaged; "save" it again', RETRY),
            done("deep", tiff, 110, 70, weight=0.3),
            done("plain", plain, 700, 600),
            done("gone", folder / "gone.png", 1000, 1000),
            not_done("empty", "failed", "empty.jpg is empty", RETRY),
            not_done("notes", "skipped", "no picture"),
        ),
        version="1.2.3",
        started=start,
        finished=start + timedelta(hours=2),
        machine="a machine",
    )
