"""Images in memory as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageCms

from hires_nst.errors import InputError
from hires_nst.imageio.images import ImageInput, to_picture
from hires_nst.imageio.picture import Picture
from hires_nst.imageio.reading import read_picture
from hires_nst.imageio.transparency import hidden

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (5, 7, 3)).astype(np.uint8)
RGBA = RNG.integers(16, 256, (5, 7, 4)).astype(np.uint8)
ORIENTATION = 0x0112


def picture_of(image: ImageInput) -> Picture:
    return to_picture(image, max_megapixels=1)


SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda size: st.sampled_from([size, *((*size, channels) for channels in (1, 2, 3, 4))])
)


def samples_of_any_type(shape: tuple[int, ...]) -> st.SearchStrategy[NDArray[Any]]:
    return st.one_of(
        hnp.arrays(np.bool_, shape),
        hnp.arrays(np.uint8, shape),
        hnp.arrays(np.uint16, shape),
        hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32)),
        hnp.arrays(np.float64, shape, elements=st.floats(0, 1)),
        hnp.arrays(np.float16, shape, elements=st.floats(0, 1, width=16)),
    )


@given(SHAPES.flatmap(samples_of_any_type))
def test_every_array_becomes_float_rgb_in_0_to_1(image: NDArray[Any]) -> None:
    before = image.copy()
    height, width = image.shape[:2]
    channels = image.shape[2] if image.ndim == 3 else 1
    peak = {"b": 1, "u": np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1}.get(image.dtype.kind, 1)
    wanted = image.reshape(height, width, channels).astype(np.float64) / peak
    alpha = wanted[..., -1] if channels in (2, 4) else np.ones((height, width))
    if not alpha.any():
        with pytest.raises(InputError, match="fully transparent"):
            picture_of(image)
        return
    picture = picture_of(image)
    assert picture.pixels.shape == (height, width, 3)
    assert picture.pixels.dtype == np.float32 and picture.pixels.flags.c_contiguous
    colours = wanted[..., :1] if channels < 3 else wanted[..., :3]
    seen = ~hidden(alpha.astype(np.float32))
    np.testing.assert_allclose(picture.pixels[seen], np.broadcast_to(colours, (height, width, 3))[seen], atol=1e-7)
    assert (picture.alpha is None) == bool((alpha.astype(np.float32) == 1).all())
    if picture.alpha is not None:
        assert picture.alpha.dtype == np.float32
        np.testing.assert_allclose(picture.alpha, wanted[..., -1], atol=1e-7)
    assert picture.notes == ()
    np.testing.assert_array_equal(image, before)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3))))
def test_array_and_pillow_image_and_file_are_the_same_picture(image: NDArray[Any]) -> None:
    pillow = Image.fromarray(image)
    np.testing.assert_array_equal(picture_of(image).pixels, picture_of(pillow).pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"])
def test_every_mode_of_a_pillow_image(mode: str) -> None:
    via = {"PA": "P", "La": "LA", "RGBa": "RGBA"}.get(mode, mode)
    image = Image.fromarray(RGBA).convert("LA" if via == "LA" else "RGBA" if via == "RGBA" else "RGB")
    image = image.convert(via).convert(mode)
    picture = picture_of(image)
    plain = image.convert("LA") if mode == "La" else image
    wanted = np.asarray(plain.convert("RGBA" if image.has_transparency_data else "RGB"), float) / 255
    np.testing.assert_allclose(picture.pixels, wanted[..., :3], atol=1 / 255 if mode == "CMYK" else 1e-6)
    assert (picture.alpha is not None) == bool((wanted[..., 3:] < 1).any())


def test_a_deep_pillow_image_keeps_its_low_bits() -> None:
    deep = RNG.integers(0, 65536, (4, 5)).astype(np.uint16)
    np.testing.assert_allclose(picture_of(Image.fromarray(deep)).pixels[..., 0], deep / 65535, atol=1e-7)
    floats = RNG.random((4, 5), np.float32)
    np.testing.assert_array_equal(picture_of(Image.fromarray(floats)).pixels[..., 1], floats)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_pillow_image_is_turned_and_colour_managed_as_its_file_is(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "a.png"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))  # does not fit, which is noted
    Image.fromarray(RGB).save(path, exif=exif, icc_profile=profile.tobytes())
    from_file = read_picture(path, max_megapixels=1)
    with Image.open(path) as image:
        picture = picture_of(image)
    np.testing.assert_array_equal(picture.pixels, from_file.pixels)
    assert picture.notes == from_file.notes and len(picture.notes) == 1


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RGBA).save(path)
    for given_path in (path, str(path)):
        np.testing.assert_array_equal(picture_of(given_path).pixels, read_picture(path, max_megapixels=1).pixels)
    with pytest.raises(InputError, match=r"none\.png does not exist"):
        picture_of(tmp_path / "none.png")


def test_rounding_errors_are_clipped() -> None:
    picture = picture_of(np.array([[-1e-4, 0.5, 1 + 1e-4]]))
    np.testing.assert_array_equal(picture.pixels[0, :, 0], np.array([0, 0.5, 1], np.float32))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 2, 5), np.uint8), r"the photograph has the shape \(2, 2, 5\)"),
        (np.zeros(4, np.uint8), r"has the shape \(4,\)"),
        (np.zeros((0, 4, 3), np.uint8), "has no pixels"),
        (np.zeros((2, 2, 3), np.int64), "samples of type int64"),
        (np.full((2, 2, 3), 255.0), "from 255 to 255; give them between 0 and 1"),
        (np.full((2, 2, 3), np.nan), "none of them NaN"),
        (np.zeros((1001, 1000, 3), np.uint8), r"\(1.001 megapixels\), more than the limit of 1"),
        (Image.new("RGB", (1001, 1000)), "the photograph has 1001 x 1000 pixels"),
        (Image.new("I", (2, 2)), "mode I; convert it to RGB"),
    ],
)
def test_what_is_refused(image: ImageInput, message: str) -> None:
    with pytest.raises(InputError, match=message):
        to_picture(image, max_megapixels=1, name="the photograph")


def test_a_pillow_image_of_a_truncated_file(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:4000])
    with Image.open(path) as image, pytest.raises(InputError, match="cannot be decoded"):
        picture_of(image)


def test_other_things_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="must be a path, a Pillow image or a NumPy array, not list"):
        picture_of([[1]])  # type: ignore[arg-type]
