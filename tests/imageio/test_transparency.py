"""Transparency: what is hidden never shows, in any kind of file and array, and files without alpha are flattened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from hires_nst.errors import InputError
from hires_nst.imageio import transparency
from hires_nst.imageio.images import to_picture
from hires_nst.imageio.picture import Picture
from hires_nst.imageio.reading import read_picture
from hires_nst.imageio.resize import ALPHA_KERNEL, resize_pixels, resize_strips
from hires_nst.imageio.transparency import WHITE, fill_hidden, flattened, hidden, parse_colour
from hires_nst.imageio.writing import Encoding, write_picture

HEIGHT, WIDTH = 6, 9
ALPHA = np.repeat(np.array([0, 0, 0, 16, 90, 200, 255, 255, 255], np.uint8)[None], HEIGHT, 0)
COLOURS = np.random.default_rng(0).integers(40, 216, (HEIGHT, WIDTH, 3)).astype(np.uint8)
HIDDEN = {"black": (0, 0, 0), "white": (255, 255, 255), "green": (13, 250, 7)}


def rgba(colour: str, *, dtype: Any = np.uint8) -> np.ndarray:
    """A picture with this colour under alpha 0."""
    colours = np.where(ALPHA[..., None] == 0, np.array(HIDDEN[colour], np.uint8), COLOURS)
    samples = np.dstack([colours, ALPHA])
    return samples if dtype == np.uint8 else samples.astype(dtype) * (257 if dtype == np.uint16 else 1 / 255)


def grey(colour: str, *, dtype: Any = np.uint8) -> np.ndarray:
    return rgba(colour, dtype=dtype)[..., [0, 3]]


def premultiplied(samples: np.ndarray) -> np.ndarray:
    """Deliberately not 0 where alpha is 0."""
    peak = np.iinfo(samples.dtype).max
    colours = np.rint(samples[..., :-1] * (samples[..., -1:] / peak)).astype(samples.dtype)
    return np.dstack([np.where(samples[..., -1:] == 0, samples[..., :-1], colours), samples[..., -1]])


def save(file: str, image: Image.Image | np.ndarray, **options: Any) -> Callable[[Path], Any]:
    def write(folder: Path) -> Path:
        path = folder / file
        if isinstance(image, Image.Image):
            image.save(path, **options)
        elif path.suffix == ".png":
            path.write_bytes(imagecodecs.png_encode(image))
        else:
            tifffile.imwrite(path, image, **options)
        return path

    return write


def tiff(samples: np.ndarray, kind: str) -> Callable[[Path], Any]:
    return save("a.tif", samples, photometric="rgb", extrasamples=[kind])


def in_memory(image: Any) -> Callable[[Path], Any]:
    return lambda folder: image


def raw(mode: str, samples: np.ndarray) -> Image.Image:
    return Image.frombytes(mode, (WIDTH, HEIGHT), np.ascontiguousarray(samples).tobytes())


def palette(colour: str) -> Image.Image:
    """Index 0 is transparent, and has the hidden colour."""
    indices = np.where(ALPHA == 0, 0, np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) + 1).astype(np.uint8)
    image = Image.fromarray(indices, "P")
    entries = np.vstack([[HIDDEN[colour]], COLOURS.reshape(-1, 3)]).astype(np.uint8)
    image.putpalette(entries.tobytes())
    return image


def key_colour(mode: str, colour: str) -> tuple[Image.Image, Any]:
    """A picture whose transparent colour is the hidden one."""
    samples = rgba(colour)[..., :3] if mode == "RGB" else rgba(colour)[..., 0]
    return Image.fromarray(np.ascontiguousarray(samples)), HIDDEN[colour] if mode == "RGB" else HIDDEN[colour][0]


def deep_key(colour: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        image = Image.fromarray(rgba(colour)[..., 0].astype(np.uint16) * 257)
        image.save(folder / "a.png", transparency=HIDDEN[colour][0] * 257)
        return folder / "a.png"

    return write


WEBP = {"lossless": True, "exact": True}
MODES: dict[str, Callable[[str], Callable[[Path], Any]]] = {
    "RGBA PNG": lambda c: save("a.png", Image.fromarray(rgba(c))),
    "LA PNG": lambda c: save("a.png", Image.fromarray(grey(c))),
    "RGBA PNG, 16 bits": lambda c: save("a.png", rgba(c, dtype=np.uint16)),
    "LA PNG, 16 bits": lambda c: save("a.png", np.ascontiguousarray(grey(c, dtype=np.uint16))),
    "palette PNG": lambda c: save("a.png", palette(c), transparency=0),
    "grey tRNS": lambda c: save("a.png", key_colour("L", c)[0], transparency=key_colour("L", c)[1]),
    "RGB tRNS": lambda c: save("a.png", key_colour("RGB", c)[0], transparency=key_colour("RGB", c)[1]),
    "grey tRNS, 16 bits": deep_key,
    "RGBA WebP": lambda c: save("a.webp", Image.fromarray(rgba(c)), **WEBP),
    "assocalpha TIFF": lambda c: tiff(premultiplied(rgba(c)), "assocalpha"),
    "unassalpha TIFF": lambda c: tiff(rgba(c), "unassalpha"),
    "assocalpha TIFF, 16 bits": lambda c: tiff(premultiplied(rgba(c, dtype=np.uint16)), "assocalpha"),
    "unassalpha TIFF, 16 bits": lambda c: tiff(rgba(c, dtype=np.uint16), "unassalpha"),
    "unassalpha TIFF, float": lambda c: tiff(rgba(c, dtype=np.float32), "unassalpha"),
    "grey TIFF": lambda c: save("a.tif", grey(c), photometric="minisblack", extrasamples=["unassalpha"]),
    "RGBA image": lambda c: in_memory(Image.fromarray(rgba(c))),
    "LA image": lambda c: in_memory(Image.fromarray(grey(c))),
    "La image": lambda c: in_memory(raw("La", premultiplied(grey(c)))),
    "RGBa image": lambda c: in_memory(raw("RGBa", premultiplied(rgba(c)))),
    "PA image": lambda c: in_memory(_pa(c)),
    "RGBA array": lambda c: in_memory(rgba(c)),
    "LA array, 16 bits": lambda c: in_memory(grey(c, dtype=np.uint16)),
    "RGBA array, float": lambda c: in_memory(rgba(c, dtype=np.float64)),
}  # fmt: skip


def _pa(colour: str) -> Image.Image:
    image = palette(colour).convert("PA")
    image.putalpha(Image.fromarray(ALPHA))
    return image


def picture_of(mode: str, colour: str, folder: Path) -> Picture:
    return to_picture(MODES[mode](colour)(folder), max_megapixels=1)


@pytest.mark.parametrize("mode", MODES)
def test_hidden_colours_do_not_matter(mode: str, tmp_path: Path) -> None:
    first, *others = [picture_of(mode, colour, tmp_path) for colour in HIDDEN]
    assert first.alpha is not None
    np.testing.assert_array_equal(first.alpha == 0, ALPHA == 0)
    seen = first.pixels[~hidden(first.alpha)]
    assert (first.pixels >= seen.min(0) - 1e-6).all() and (first.pixels <= seen.max(0) + 1e-6).all()
    for other in others:
        np.testing.assert_array_equal(other.pixels, first.pixels)


@pytest.mark.parametrize("hidden_value", [0, 1e9, -3, np.nan, 255])
def test_hidden_floats_have_no_say_in_the_range_of_the_others(hidden_value: float, tmp_path: Path) -> None:
    visible = rgba("black", dtype=np.float32)
    for scale in (1, 255):
        samples = (visible * scale).astype(np.float32)
        samples[ALPHA == 0, :3] = hidden_value
        picture = read_picture(tiff(samples, "unassalpha")(tmp_path), max_megapixels=1)
        expected = to_picture(visible, max_megapixels=1)
        np.testing.assert_allclose(picture.pixels, expected.pixels, atol=1e-6)
        assert not any("NaN" in note or "outside" in note for note in picture.notes)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("mode", MODES)
def test_every_alpha_in_every_format(mode: str, suffix: str, tmp_path: Path) -> None:
    picture = picture_of(mode, "green", tmp_path)
    assert picture.alpha is not None
    path = tmp_path / f"out.{suffix}"
    encoding = Encoding(dpi=None, bit_depth=8, quality=100, compression="deflate")
    write_picture(path, picture.pixels, alpha=picture.alpha, encoding=encoding)
    found = read_picture(path, max_megapixels=1)
    if suffix != "jpg":
        assert found.alpha is not None
        np.testing.assert_allclose(found.alpha, picture.alpha, atol=0.51 / 255)
        return
    assert found.alpha is None
    np.testing.assert_allclose(found.pixels, flattened(picture.pixels, picture.alpha, background=WHITE), atol=0.06)
    np.testing.assert_allclose(found.pixels[:, :2], 1, atol=0.06)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_a_background_replaces_the_alpha(suffix: str, tmp_path: Path) -> None:
    picture, blue = to_picture(rgba("white"), max_megapixels=1), parse_colour("#0000ff")
    assert picture.alpha is not None
    encoding = Encoding(dpi=None, bit_depth=8, quality=100, compression="deflate")
    path = tmp_path / f"a.{suffix}"
    write_picture(path, picture.pixels, alpha=picture.alpha, background=blue, encoding=encoding)
    found = read_picture(path, max_megapixels=1)
    assert found.alpha is None
    expected = picture.pixels * picture.alpha[..., None] + np.array([0, 0, 1]) * (1 - picture.alpha[..., None])
    np.testing.assert_allclose(found.pixels, expected, atol=0.51 / 255)


@pytest.mark.parametrize("mode", ["RGBA PNG", "RGBA image", "RGBA array"])
def test_an_opaque_alpha_channel_is_none(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__name__ + ".ALPHA", np.full_like(ALPHA, 255))
    picture = picture_of(mode, "green", tmp_path)
    assert picture.alpha is None
    np.testing.assert_allclose(picture.pixels, COLOURS / 255, atol=1e-7)


@pytest.mark.parametrize("mode", ["RGBA PNG", "LA PNG", "grey TIFF", "RGBA image", "RGBA array"])
def test_a_fully_transparent_picture_is_refused(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(__name__ + ".ALPHA", np.zeros_like(ALPHA))
    with pytest.raises(InputError, match="is fully transparent, so there is nothing to see in it; give"):
        picture_of(mode, "green", tmp_path)


SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(st.data())
def test_filling_keeps_what_is_visible_and_forgets_the_rest(data: st.DataObject) -> None:
    shape = data.draw(SHAPES)
    alpha = data.draw(hnp.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 3, 40, 255]))) / np.float32(255)
    if not alpha.any():
        return
    pixels, others = (
        data.draw(hnp.arrays(np.float32, (*shape, 3), elements=st.floats(0, 1, width=32))) for _ in range(2)
    )
    seen = ~hidden(alpha)
    filled = pixels.copy()
    fill_hidden(filled, alpha)
    np.testing.assert_array_equal(filled[seen], pixels[seen])
    assert (filled >= pixels[seen].min(0) - 1e-5).all() and (filled <= pixels[seen].max(0) + 1e-5).all()
    again = np.where(seen[..., None], filled, others)
    fill_hidden(again, alpha)
    np.testing.assert_array_equal(again, filled)


def test_filling_is_the_same_in_strips_and_in_a_memory_map(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    pixels = rng.random((77, 41, 3), np.float32)
    alpha = np.where(rng.random((77, 41)) < 0.1, 1, 0).astype(np.float32)
    alpha[30:70] = 0
    whole = pixels.copy()
    fill_hidden(whole, alpha)
    mapped = np.memmap(tmp_path / "pixels", np.float32, "w+", shape=pixels.shape)
    mapped[:] = pixels
    monkeypatch.setattr(transparency, "STRIP_ROWS", 8)
    fill_hidden(mapped, alpha)
    np.testing.assert_array_equal(mapped, whole)


def test_resampling_brings_no_hidden_colour_to_an_edge() -> None:
    """A white disc on hidden black, and on hidden white: the same, and no dark ring."""
    across, down = np.meshgrid(np.arange(60), np.arange(50))
    alpha = np.clip(15.5 - np.hypot(across - 30, down - 25), 0, 1).astype(np.float32)
    for colour in (0.0, 1.0):
        pixels = np.where(alpha[..., None] > 0, 1, colour).astype(np.float32)
        picture = to_picture(np.dstack([pixels.repeat(3, 2), alpha]), max_megapixels=1)
        assert picture.alpha is not None
        for size in ((25, 21), (143, 119)):
            np.testing.assert_allclose(resize_pixels(picture.pixels, size), 1, atol=1e-6)
        enlarged = resize_pixels(picture.alpha, (240, 200), kernel=ALPHA_KERNEL)
        assert (enlarged[:20] == 0).all() and (enlarged[96:104, 116:124] == 1).all()


def test_an_alpha_channel_does_not_overshoot() -> None:
    step = np.repeat(np.repeat([0, 1], 20)[None].astype(np.float32), 8, 0)
    target = np.empty((32, 160, 1), np.float32)
    resize_strips(step[..., None], target, kernel=ALPHA_KERNEL)
    assert (target[:, :76] == 0).all() and (target[:, 84:] == 1).all()
    assert (resize_pixels(step, (160, 32))[:, :76] > 0.01).any()  # as Lanczos would


def test_colours_by_name_and_number() -> None:
    assert parse_colour("white") == (1, 1, 1)
    assert parse_colour("#ff8000") == (1, 128 / 255, 0)
    assert parse_colour("Grey") == parse_colour("#808080")
    for wrong in ("whiteish", "#ff", "#11223344", "", "1,2,3"):
        with pytest.raises(ValueError):
            parse_colour(wrong)
