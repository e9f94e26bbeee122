"""The training of the bundled network: what must hold before and after the steps themselves."""

from pathlib import Path

import numpy as np
import pytest
import torch
from slim_images import CROP, Crops
from slim_networks import MEAN, NAMES, STD, Student, encoder_16x, network
from slim_transfer import roughness
from train_slim import alignment, blocks

TEACHERS = Path(__file__).parents[2] / "shared" / "teachers"
NARROW = ((2, 3), (3, 2), (3, 2, 2, 3), (2, 3, 2, 3), (4,))
WIDE = ((4, 3), (5, 2), (6, 2, 4, 3), (4, 3, 3, 3), (5,))


def student(widths: tuple[tuple[int, ...], ...], seed: int) -> Student:
    """A student whose batch normalisation has seen something."""
    torch.manual_seed(seed)
    made = Student(widths)
    made.train()
    for _ in range(3):
        made(torch.rand(2, 3, 48, 48))
    return made.eval()


def test_folding_the_batch_normalisation_in_changes_nothing() -> None:
    made = student(NARROW, 0)
    plain = network("plain", made.folded(), mean=(MEAN,) * 3, std=STD, pooling="max")
    image = torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        found, expected = plain(image, NAMES), made(image)
    assert plain.backbone.blocks == NARROW
    for name in NAMES:
        torch.testing.assert_close(found[name], expected[name])


@pytest.mark.parametrize("training", [False, True], ids=["running statistics", "the batch's statistics"])
def test_a_grown_student_begins_as_the_narrow_one(training: bool) -> None:
    narrow, images = student(NARROW, 1), torch.rand(4, 3, 48, 48)
    wide = Student(WIDE)
    wide.grow_from(narrow.folded(), images)
    wide.train(training)
    with torch.no_grad():
        expected, found = narrow(images), wide(images)
    for name in NAMES:
        torch.testing.assert_close(found[name][:, : expected[name].shape[1]], expected[name], atol=2e-3, rtol=2e-3)
    assert found["conv1_1"].shape[1] == 4
    assert float(found["conv2_1"][:, 3:].std()) > 0.01  # new channels see something from the start


def test_alignment_is_that_of_the_centred_kernels() -> None:
    torch.manual_seed(2)
    a, b = torch.rand(30, 4), torch.rand(30, 7)
    centring = torch.eye(30) - 1 / 30
    k, m = centring @ a @ a.T @ centring, centring @ b @ b.T @ centring
    torch.testing.assert_close(alignment(a, b), (k * m).sum() / (k.norm() * m.norm()))
    torch.testing.assert_close(alignment(a, 3 * a + 1), torch.tensor(1.0))


def test_widths_are_read_block_by_block() -> None:
    assert blocks("2,3/3,2/3,2,2,3/2,3,2,3/4") == NARROW


def test_roughness_is_the_power_above_three_quarters_of_the_nyquist_frequency() -> None:
    rows = np.arange(64)[:, None, None]
    for frequency, share in ((0.25, 0.0), (0.45, 1.0)):
        wave = 0.5 + 0.1 * np.sqrt(2) * np.sin(2 * np.pi * frequency * rows)
        pixels = np.broadcast_to(wave, (64, 64, 3)).astype(np.float32)
        assert roughness(pixels) == pytest.approx(1e6 * 0.01 * share, rel=0.02, abs=5)


@pytest.mark.skipif(not TEACHERS.is_dir(), reason="the teachers are not here")
def test_the_encoders_preprocessing_is_folded_into_its_first_convolution() -> None:
    from safetensors.torch import load_file
    from torch.nn.functional import conv2d, pad, relu

    tensors = load_file(TEACHERS / "vgg19_16x_encoder.safetensors")
    image = torch.rand(1, 3, 20, 24)
    first = conv2d(image, tensors["conv0.weight"], tensors["conv0.bias"])
    expected = relu(
        conv2d(pad(first, (1, 1, 1, 1), mode="replicate"), tensors["conv11.weight"], tensors["conv11.bias"])
    )
    found = encoder_16x(TEACHERS)(image, ["conv1_1"])["conv1_1"]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_crops_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("photo_a", "style_b", "stylized_c"):
        Image.fromarray(rng.integers(0, 256, (130, 150, 3), np.uint8)).save(tmp_path / f"{name}.jpg")
    first, second = (Crops(tmp_path, 5) for _ in range(2))
    for _ in range(12):
        a, b = first.augmented(), second.augmented()
        assert a.shape == (3, CROP, CROP)
        assert 0 <= float(a.min()) <= float(a.max()) <= 1
        assert torch.equal(a, b)
