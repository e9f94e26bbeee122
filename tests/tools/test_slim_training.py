"""The training of the bundled network: what must hold before and after the steps themselves."""

import re
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch
import train_slim
from evaluate_slim import transfer
from PIL import Image
from safetensors.torch import load_file, save_file
from slim_card import model_card
from slim_images import CROP, Crops
from slim_networks import MEAN, NAMES, STD, Student, Teachers, encoder_16x, most_telling, narrowed, network, unexplained
from slim_transfer import Pair, stylized
from torch.nn.functional import conv2d, pad, relu
from train_slim import Run, alignment, blocks

from hires_nst.backbones.registry import VGG19_SLIM
from hires_nst.backbones.weights import bundled_file
from hires_nst.config import Levels, Loss, Optimizer
from hires_nst.evaluation.metrics import roughness
from tests.conftest import random_canvas

TEACHERS = Path(__file__).parents[3] / "shared" / "teachers"
NARROW = ((2, 3), (3, 2), (3, 2, 2, 3), (2, 3, 2, 3), (4,))
GOALS = dict.fromkeys(NAMES, 5)
WIDE = ((4, 3), (5, 2), (6, 2, 4, 3), (4, 3, 3, 3), (5,))


def student(widths: tuple[tuple[int, ...], ...], seed: int) -> Student:
    """A student whose batch normalisation has seen something."""
    torch.manual_seed(seed)
    made = Student(widths, GOALS)
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
    wide = Student(WIDE, GOALS)
    wide.grow_from(narrow.folded(), images)
    wide.train(training)
    with torch.no_grad():
        expected, found = narrow(images), wide(images)
    for name in NAMES:
        torch.testing.assert_close(found[name][:, : expected[name].shape[1]], expected[name], atol=2e-3, rtol=2e-3)
    assert found["conv1_1"].shape[1] == 4
    assert float(found["conv2_1"][:, 3:].std()) > 0.01  # new channels see something from the start


def test_narrowing_keeps_what_tells_of_the_teachers() -> None:
    torch.manual_seed(4)
    known = torch.rand(200, 6)
    goal = known[:, [1, 4]] @ torch.tensor([[1.0, 2.0, 0.5], [-1.0, 0.3, 2.0]])
    assert most_telling(known, goal, 2) == [1, 4]
    images = torch.rand(2, 3, 48, 48)
    wide = student(WIDE, 5)
    weights = wide.folded()
    with torch.no_grad():
        features = wide(images)
    same = narrowed(weights, WIDE, images, features)
    assert all(torch.equal(same[name], tensor) for name, tensor in weights.items())
    slim = narrowed(weights, NARROW, images, features)
    assert network("slim", slim, mean=(MEAN,) * 3, std=STD, pooling="max").backbone.blocks == NARROW


def test_narrowing_moves_what_was_in_other_channels_into_the_layer_that_follows() -> None:
    images = torch.rand(2, 3, 48, 48)
    weights = {name: tensor.detach() for name, tensor in student(NARROW, 6).folded().items()}
    features = network("slim", weights, mean=(MEAN,) * 3, std=STD, pooling="max")(images, NAMES)
    doubled = dict(weights)  # a channel twice, and its listener hears one with weight 3 and the other with -2
    for part in ("weight", "bias"):
        doubled[f"conv2_1.{part}"] = torch.cat([weights[f"conv2_1.{part}"], weights[f"conv2_1.{part}"][:1]])
    listener = weights["conv2_2.weight"]
    doubled["conv2_2.weight"] = torch.cat([3 * listener[:, :1], listener[:, 1:], -2 * listener[:, :1]], 1)
    slim = narrowed(doubled, NARROW, images, features)
    found = network("slim", slim, mean=(MEAN,) * 3, std=STD, pooling="max")(images, NAMES)
    torch.testing.assert_close(found["conv2_2"], features["conv2_2"], atol=1e-3, rtol=1e-3)


def test_the_first_layer_is_fitted_alone_and_stays() -> None:
    torch.manual_seed(7)
    made, images = Student(NARROW, GOALS), torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        filters = torch.randn(5, 3, 3, 3)
        target = relu(conv2d(pad(images, (1, 1, 1, 1), mode="replicate"), filters))

    def left() -> float:
        mine = made(images)["conv1_1"].permute(0, 2, 3, 1).flatten(0, 2)
        return float(unexplained(mine, target.permute(0, 2, 3, 1).flatten(0, 2)).detach())

    weight = made.convolutions["conv1_1"].get_parameter("weight")
    before, first = left(), weight.detach().clone()
    made.fit_first(images, target)
    assert left() < before - 0.05
    assert not torch.equal(weight, first)
    assert not {id(p) for p in made.convolutions["conv1_1"].parameters()} & {id(p) for p in made.trained}


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
    tensors = load_file(TEACHERS / "vgg19_16x_encoder.safetensors")
    image = torch.rand(1, 3, 20, 24)
    first = conv2d(image, tensors["conv0.weight"], tensors["conv0.bias"])
    expected = relu(
        conv2d(pad(first, (1, 1, 1, 1), mode="replicate"), tensors["conv11.weight"], tensors["conv11.bias"])
    )
    found = encoder_16x(TEACHERS)(image, ["conv1_1"])["conv1_1"]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-4)


def test_crops_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("photo_a", "style_b", "stylized_c"):
        Image.fromarray(rng.integers(0, 256, (130, 150, 3), np.uint8)).save(tmp_path / f"{name}.jpg")
    first, second = (Crops(tmp_path, 5) for _ in range(2))
    for _ in range(12):
        a, b = first.augmented(), second.augmented()
        assert a.shape == (3, CROP, CROP)
        assert 0 <= float(a.min()) <= float(a.max()) <= 1
        assert torch.equal(a, b)


def make_shared(folder: Path) -> Path:
    """Small teachers and images under the names of the large ones."""
    rng = np.random.default_rng(1)
    torch.manual_seed(3)
    images = [f"training/{kind}_{i}.jpg" for kind in ("photo", "style", "stylized") for i in range(2)]
    images += ["photos/a.png", "paintings/munch_the_scream.jpg", "paintings/turner_shipwreck.jpg"]
    for name in images:
        file = folder / "images" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (390, 400, 3), np.uint8)).save(file)
    vgg, channels = {}, 3
    for index, width in zip((0, 2, 5, 7, 10, 12, 14, 16), (4, 4, 6, 6, 8, 8, 8, 8), strict=True):
        vgg[f"features.{index}.weight"] = torch.randn(width, channels, 3, 3) / 5
        vgg[f"features.{index}.bias"], channels = torch.zeros(width), width
    encoder, channels = {"conv0.weight": torch.randn(3, 3, 1, 1), "conv0.bias": torch.zeros(3)}, 3
    for name in NAMES:
        width = 2 + int(name[4])
        encoder[f"conv{name[4]}{name[6]}.weight"] = torch.randn(width, channels, 3, 3) / 5
        encoder[f"conv{name[4]}{name[6]}.bias"], channels = torch.zeros(width), width
    encoder |= {f"conv{block}1_aux.weight": torch.randn(9, 2 + block, 1, 1) for block in (4, 5)}
    (folder / "teachers").mkdir()
    save_file(vgg, folder / "teachers" / "vgg19_caffe_conv1_to_conv3.safetensors")
    save_file(encoder, folder / "teachers" / "vgg19_16x_encoder.safetensors")
    return folder


def test_a_student_is_judged_by_pictures_made_as_the_pipeline_makes_them(tmp_path: Path) -> None:
    teachers = Teachers(make_shared(tmp_path) / "teachers")
    slim = network("student", student(NARROW, 8).folded(), mean=(MEAN,) * 3, std=STD, pooling="average")
    pair = Pair("a, b", random_canvas(96, 96, 1), random_canvas(80, 90, 2))
    levels = Levels(min_size=32, coarse_steps=6, rounds=2, steps=2)
    rows, criteria, sheet = transfer(slim, teachers, [pair], Loss(), 64, levels, Optimizer())
    assert sheet.size == (3 * 64, 64)
    numbers = {cells[1]: cells[2:] for cells in table_cells(rows) if cells[0] == "a, b"}
    assert float(numbers["photograph unchanged"][2]) == 0
    assert float(numbers["student"][2]) > 0
    shallow = table_cells(criteria)[2]
    assert shallow[0] == "shallow style loss over the encoder's"
    assert shallow[2] == shallow[3] == shallow[4]  # there is one pair
    coarse = stylized(slim, Loss(), pair, 32, levels, Optimizer())
    assert coarse.pixels.shape == (32, 32, 3)
    assert not np.array_equal(coarse.pixels, pair.content_at(32).pixels)


def table_cells(text: str) -> list[list[str]]:
    """The cells of a Markdown table, row by row."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_the_model_card_says_what_the_network_and_its_training_are() -> None:
    slim, file = VGG19_SLIM, bundled_file(VGG19_SLIM)
    training = {
        "date": "2026-11-21", "machine": "x86_64", "steps": 10, "minutes": 1, "r2": {}, "grown_from": None,
        "options": {"batch": 12, "bank": 512, "fresh": 4, "grow": None, "widths": [[1, 2], [3]]},
    }  # fmt: skip
    tables = {part: f"table of {part}" for part in ("features", "gradient", "cost", "criteria")}
    card = model_card(slim, file, training, tables)
    assert card.startswith("# vgg19-slim\n")
    assert f"2 x 2 {slim.pooling} pooling" in card
    assert "tools/train_slim.py --batch 12 --bank 512 --fresh 4 --widths 1,2/3\n" in card
    assert all(text in card for text in tables.values())
    multiply_adds = re.search(r"1/([\d.]+) of VGG-19's multiply-adds", card)
    assert multiply_adds is not None
    assert 10 <= float(multiply_adds[1]) <= 20


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_slim, "HALF_EVERY", 2)
    monkeypatch.setattr(train_slim, "HALF_FROM", 0)
    common = {"shared": make_shared(tmp_path), "widths": NARROW, "grow": None, "seed": 0, "steps": 8, "rate": 1e-2}
    common |= {"pooling": "average", "device": "cpu", "similarity": 1.0}
    sizes = {"batch": 3, "fresh": 2, "bank": 16}
    (tmp_path / "out").mkdir()
    (tmp_path / "other").mkdir()
    whole = Run(Namespace(**common, **sizes, out=tmp_path / "other"))
    first = Run(Namespace(**common, **sizes, out=tmp_path / "out"))
    began = whole.student.folded()
    for _ in range(4):
        whole.advance()
        first.advance()
    first.save()
    resumed = Run(Namespace(**common, **sizes, out=tmp_path / "out"))
    assert resumed.step == 4
    for _ in range(4):
        assert resumed.advance() == whole.advance()
    for name, tensor in whole.student.folded().items():
        assert torch.equal(resumed.student.folded()[name], tensor)
    for changed in ({"rate": 1.0}, {"widths": WIDE}, {"pooling": "max"}):
        with pytest.raises(SystemExit, match=f"was made with --{next(iter(changed))} .*; give the same options"):
            Run(Namespace(**common | changed, **sizes, out=tmp_path / "out"))
    assert not torch.allclose(began["conv5_1.weight"], whole.student.folded()["conv5_1.weight"])
