"""The distance of the colours' distributions: by sorting, in tiles, and where it counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hires_nst import Config
from hires_nst.backbones.description import PIXELS
from hires_nst.config import Loss
from hires_nst.transfer.losses.palette import PALETTE, ROTATIONS, colour_errors, colour_range, colour_targets
from hires_nst.transfer.losses.sliced import directions, histograms, sliced_targets, sliced_transport
from hires_nst.transfer.moments import Statistics
from hires_nst.transfer.style import style_layers_of
from hires_nst.transfer.tiles import make_grid
from tests.transfer.test_equivalence import problem, relative

RANGE = colour_range(Statistics({"mean": torch.zeros(3, dtype=torch.float64)}))


def colours(seed: int, height: int = 40, width: int = 50) -> Tensor:
    """(1, 3, h, w) in float64, no two seeds with the same distribution."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand((1, 3, height, width), generator=generator, dtype=torch.float64)
    return values ** (1 + seed / 2)


def of(image: Tensor) -> Statistics:
    """The data of a style, or the statistics of an image."""
    return PALETTE.sums(image, None, style=RANGE).finalise() | RANGE


def sorted_form(image: Tensor, style: Tensor) -> Tensor:
    """3 times the mean over the directions of the squared 1-D distances, of images with as many pixels."""
    axes = torch.cat([directions(3, seed=3 + rotation) for rotation in range(ROTATIONS)])
    ours, theirs = ((axes @ x[0].flatten(1)).sort(1).values for x in (image, style))
    return 3 * (ours - theirs).square().mean()


def test_errors_are_those_along_all_directions() -> None:
    image, style = colours(1), of(colours(2))
    transport = sliced_transport(of(image), style)
    plain = sliced_targets(image, transport, style=style)
    targets = colour_targets(image, transport, style=style)
    other = colours(3)
    errors = colour_errors(other, targets, transport=transport, style=style)
    projected = RANGE["directions"] @ other[0].flatten(1)
    assert torch.allclose(errors, 3 * (projected - plain).square().mean(0), rtol=1e-9, atol=1e-12)


def test_the_value_and_the_gradient_are_nearly_those_by_sorting() -> None:
    image, style = colours(1).requires_grad_(), colours(2)
    data = of(style)
    transport = sliced_transport(of(image.detach()), data)
    targets = colour_targets(image.detach(), transport, style=data)
    value = colour_errors(image, targets, transport=transport, style=data).mean()
    expected = sorted_form(image, style)
    assert value.item() == pytest.approx(expected.item(), rel=0.01)
    (ours,), (theirs,) = (torch.autograd.grad(v, image, retain_graph=True) for v in (value, expected))
    assert relative(ours, theirs) < 0.05


def test_a_shift_of_all_colours_counts_by_its_squared_length() -> None:
    image = 0.25 + 0.5 * colours(1)
    shift = torch.tensor([0.1, -0.2, 0.05], dtype=torch.float64).view(1, 3, 1, 1)
    data = of(image + shift)
    transport = sliced_transport(of(image), data)
    errors = colour_errors(image, colour_targets(image, transport, style=data), transport=transport, style=data)
    assert float(errors.mean()) == pytest.approx(float(shift.square().sum()), rel=0.02)


def test_colours_of_any_value_lie_in_the_range() -> None:
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 3).T.reshape(1, 3, 2, 4)
    values = RANGE["directions"] @ corners[0].flatten(1)
    ends = RANGE["start"][:, None], (RANGE["start"] + 256 * RANGE["width"])[:, None]
    assert bool((values >= ends[0] - 1e-9).all())
    assert bool((values <= ends[1] + 1e-9).all())
    assert histograms(corners, None, style=RANGE).sums["histogram"].sum(1).tolist() == pytest.approx([8.0] * 6)


def test_the_exact_gradient_in_tiles_is_the_untiled_one() -> None:
    loss = Loss(style_layers={"conv1_1": 1.0, "conv3_1": 0.5}, content_weight=0.1)
    objective, content, canvas = problem(96, 112, loss=loss, palette=True)
    assert PIXELS in objective.style
    values = [objective.gradient(canvas, content, grid=make_grid(96, 112, size=size, stride=16)) for size in (32, 9999)]
    assert float(values[0][0]) == pytest.approx(float(values[1][0]), rel=1e-9)
    assert relative(values[0][1], values[1][1]) < 1e-9


def test_the_losses_that_are_told_are_those_of_the_layers() -> None:
    loss = Loss(style_layers={"conv1_1": 1.0})
    grid = make_grid(64, 80, size=64, stride=16)
    (plain, content, canvas), (objective, _, _) = (problem(64, 80, loss=loss, palette=p) for p in (False, True))
    assert objective.losses(canvas, content, grid=grid) == plain.losses(canvas, content, grid=grid)


def test_pixels_are_compared_before_the_layers() -> None:
    for weight, layers in ((20.0, ["pixels", "conv1_1"]), (0.0, ["conv1_1"])):
        assert style_layers_of(Loss(palette_weight=weight, style_layers={"conv1_1": 1.0}), ["conv1_1"]) == layers


@pytest.mark.parametrize(
    "loss",
    [
        {"style": "gram", "normalization": "gatys2015"},
        {"style_layers": {}, "content_layers": {"conv4_2": 1.0}},
        {"style_weight": 0},
        {"palette_weight": 0},
    ],
)
def test_there_is_none_with_the_papers_normalisations_or_without_style(loss: dict[str, object]) -> None:
    assert Config.model_validate({"loss": loss}).loss.active_palette_weight == 0
