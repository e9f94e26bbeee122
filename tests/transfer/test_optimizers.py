"""The optimisers on problems whose minimum is known."""

from __future__ import annotations

import copy
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from hires_nst.config import Optimizer
from hires_nst.transfer.convergence import STEPS, gains_less
from hires_nst.transfer.lbfgs import FIRST_CHANGE, RESTART_CHANGE, _Pairs
from hires_nst.transfer.minimise import minimise
from hires_nst.transfer.optimizers import Gradient, Minimisation, OptimizerState, Snapshot, TakeSnapshot
from hires_nst.transfer.parametrization import preconditioner

LBFGS, PYRAMID, ADAM = Optimizer(), Optimizer(pixels="laplacian"), Optimizer(name="adam")
ALL = pytest.mark.parametrize("optimizer", [LBFGS, PYRAMID, ADAM], ids=["lbfgs", "pyramid", "adam"])


def quadratic(target: Tensor, scale: Tensor | float = 1.0) -> Gradient:
    """scale * (x - target)^2, averaged over the pixels as the losses are."""

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        difference = x.detach() - target
        return (scale * difference.square()).mean(), 2 * scale * difference / x.numel()

    return gradient


def optimised(start: Tensor, gradient: Gradient, **options: Any) -> Tensor:
    """The image that a minimisation finds."""
    return minimise(Minimisation(start=start, gradient=gradient, **options)).image


def image(seed: int, low: float = 0.2, high: float = 0.8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand((1, 3, 12, 10), generator=generator)


@ALL
def test_one_evaluation_a_step_and_each_is_told(optimizer: Optimizer) -> None:
    calls: list[float] = []
    shown: list[tuple[int, float]] = []
    objective = quadratic(image(1))

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = objective(x)
        calls.append(float(value))
        return value, slope

    optimised(image(0), gradient, optimizer=optimizer, steps=5, on_step=lambda step, loss: shown.append((step, loss)))
    assert [step for step, _ in shown] == [1, 2, 3, 4, 5]
    assert [loss for _, loss in shown] == pytest.approx(calls)
    assert shown[0][1] == pytest.approx(float(objective(image(0))[0]))


@ALL
def test_the_start_is_not_changed_and_the_result_has_no_graph(optimizer: Optimizer) -> None:
    start = image(0)
    before = start.clone()
    result = optimised(start, quadratic(image(1)), optimizer=optimizer, steps=3)
    assert torch.equal(start, before)
    assert not result.requires_grad
    assert not torch.equal(result, before)


def test_lbfgs_finds_the_minimum_of_an_ill_conditioned_quadratic() -> None:
    scale = torch.logspace(-1, 1, 360).view(1, 3, 12, 10)
    result = optimised(image(0), quadratic(image(1), scale), optimizer=LBFGS, steps=60)
    assert float((result - image(1)).abs().max()) < 0.02
    assert float((result - image(1)).square().mean()) < 1e-4 * float((image(0) - image(1)).square().mean())


def test_adam_finds_the_minimum_too() -> None:
    result = optimised(image(0), quadratic(image(1)), optimizer=ADAM, steps=150)
    assert float((result - image(1)).abs().max()) < 0.02


def test_the_first_step_of_lbfgs_has_a_size_of_its_own() -> None:
    start = torch.full((1, 3, 12, 10), 0.5)
    for scale in (1.0, 100.0):
        result = optimised(start, quadratic(image(1), scale), optimizer=LBFGS, steps=1)
        assert float((result - start).abs().mean()) == pytest.approx(FIRST_CHANGE, rel=1e-3)
    half = optimised(start, quadratic(image(1)), optimizer=Optimizer(learning_rate=0.5), steps=1)
    assert float((half - start).abs().mean()) == pytest.approx(FIRST_CHANGE / 2, rel=1e-3)


@ALL
def test_pixels_stay_in_range_though_the_minimum_does_not(optimizer: Optimizer) -> None:
    seen: list[tuple[float, float]] = []
    objective = quadratic(image(1, -1, 2))

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        seen.append((float(x.detach().min()), float(x.detach().max())))
        return objective(x)

    result = optimised(image(0), gradient, optimizer=optimizer, steps=80)
    assert min(low for low, _ in seen) >= 0
    assert max(high for _, high in seen) <= 1
    assert torch.allclose(result, image(1, -1, 2).clamp(0, 1), atol=0.05)


@ALL
def test_at_the_minimum_nothing_moves(optimizer: Optimizer) -> None:
    result = optimised(image(1), quadratic(image(1)), optimizer=optimizer, steps=4)
    assert torch.equal(result, image(1))


def test_adam_goes_on_from_its_state() -> None:
    objective = quadratic(image(1))
    whole = optimised(image(0), objective, optimizer=ADAM, steps=9)
    four = Minimisation(start=image(0), gradient=objective, optimizer=ADAM, steps=4, state=OptimizerState())
    first = minimise(four)
    assert first.state is not None and first.state.steps == 4
    five = Minimisation(start=first.image, gradient=objective, optimizer=ADAM, steps=5, state=first.state)
    second = minimise(five)
    assert second.state is not None and second.state.steps == 9
    assert torch.allclose(second.image, whole, atol=1e-6)
    assert not torch.allclose(optimised(first.image, objective, optimizer=ADAM, steps=5), whole, atol=1e-4)


def test_lbfgs_begins_with_the_pair_of_its_last_call() -> None:
    """A quadratic, and a last start on the line from here to its minimum: the pair tells the length of the step."""
    minimum, here = image(1), image(0)
    scale = torch.linspace(0.5, 3.0, here.numel()).reshape(here.shape)
    objective = quadratic(minimum, scale)
    before = here + 0.5 * (here - minimum)
    state = OptimizerState({"step": here - before, "gradient": objective(before)[1]}, 7)
    found = minimise(Minimisation(start=here, gradient=objective, optimizer=LBFGS, steps=1, state=state))
    assert torch.allclose(found.image, minimum, atol=1e-5)
    assert found.state is not None and found.state.steps == 8
    assert torch.equal(found.state.tensors["step"], found.image - here)
    assert torch.equal(found.state.tensors["gradient"], objective(here)[1])


def test_lbfgs_takes_a_small_step_where_the_pair_has_no_curvature() -> None:
    objective = quadratic(image(1))
    there = image(2)
    state = OptimizerState({"step": image(0) - there, "gradient": objective(image(0))[1] + (image(0) - there)}, 3)
    change = (optimised(image(0), objective, optimizer=LBFGS, steps=1, state=state) - image(0)).abs().mean()
    assert float(change) == pytest.approx(RESTART_CHANGE, rel=1e-3)


def test_lbfgs_that_knows_its_last_call_gets_further() -> None:
    scale = torch.logspace(-1, 1, image(0).numel()).reshape(image(0).shape)
    objective = quadratic(image(1), scale)
    values = []
    for state in (None, OptimizerState()):
        x = image(0)
        for _ in range(6):
            found = minimise(Minimisation(start=x, gradient=objective, optimizer=LBFGS, steps=2, state=state))
            x, state = found.image, found.state
        values.append(float(objective(x)[0]))
    assert values[1] < 0.5 * values[0]


@ALL
def test_the_same_start_gives_the_same_bits(optimizer: Optimizer) -> None:
    results = [optimised(image(0), quadratic(image(1), 3.0), optimizer=optimizer, steps=6) for _ in range(2)]
    assert torch.equal(*results)


@pytest.mark.parametrize("history", [1, 3, 20])
def test_the_steps_are_those_of_torch(history: int) -> None:
    """Of its L-BFGS on the same variables, here the pixels, after a first step of the same length."""
    scale = torch.logspace(-1, 1, 360, dtype=torch.float64).view(1, 3, 12, 10)
    objective = quadratic(image(1).double(), scale)
    start = image(0).double()
    pairs, x = _Pairs(history), start.flatten().clone()
    theirs = start.flatten().clone().requires_grad_()
    method = torch.optim.LBFGS([theirs], lr=0.5, max_iter=1, history_size=history, tolerance_grad=0, tolerance_change=0)

    def closure() -> Tensor:
        value, theirs.grad = (part.flatten() for part in objective(theirs.detach().view_as(start).requires_grad_()))
        return value.sum()

    before: tuple[Tensor, Tensor] | None = None
    for number in range(8):
        gradient = objective(x.view_as(start).requires_grad_())[1].flatten()
        if before is not None:
            pairs.add(before[0], gradient - before[1])
        length = min(1.0, 1 / float(gradient.abs().sum())) if number == 0 else 1.0
        step = pairs.direction(gradient) * 0.5 * length
        x, before = x.detach() + step, (step, gradient)
        method.step(closure)  # type: ignore[no-untyped-call]
        assert torch.allclose(x, theirs, rtol=1e-9, atol=1e-12)
    assert len(pairs.steps) == min(history, 7)


def test_a_pair_without_curvature_has_no_effect() -> None:
    generator = torch.Generator().manual_seed(0)
    step, change, gradient = torch.rand((3, 50), generator=generator).unbind()
    pairs = _Pairs(4)
    pairs.add(step, -change)
    assert torch.equal(pairs.direction(gradient), -gradient)
    pairs.add(step, change)
    with_it, alone = pairs.direction(gradient), _Pairs(4)
    alone.add(step, change)
    assert torch.allclose(with_it, alone.direction(gradient))


def test_a_longer_history_and_another_rate_change_the_steps() -> None:
    scale = torch.logspace(-1, 1, 360).view(1, 3, 12, 10)
    found = [
        optimised(image(0), quadratic(image(1), scale), optimizer=optimizer, steps=9)
        for optimizer in (LBFGS, Optimizer(history=1), Optimizer(learning_rate=0.7))
    ]
    assert not torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])
    assert (LBFGS.rate, ADAM.rate) == (1.0, 0.02)


class _ReadBacks(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the numbers that are read back from a device."""

    count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_step_reads_nothing_back_from_the_device_but_its_loss() -> None:
    counts = []
    for steps in (3, 8):
        with _ReadBacks() as mode:  # type: ignore[no-untyped-call]
            optimised(image(0), quadratic(image(1)), optimizer=LBFGS, steps=steps)
        counts.append(mode.count)
    assert counts[1] - counts[0] == 5


def test_the_preconditioner_lifts_calm_regions_and_depends_on_no_scale() -> None:
    slope = torch.ones((1, 3, 24, 40))
    slope[..., 20:] = 0.01
    scaling = preconditioner(slope)
    assert scaling.shape == (1, 1, 24, 40)
    assert float(scaling[..., 30:].min()) > 1.5 * float(scaling[..., :10].max())
    assert torch.allclose(preconditioner(slope * 1e-6), scaling, rtol=1e-4)


@ALL
def test_a_value_that_is_not_finite_ends_the_steps_at_the_last_good_image(optimizer: Optimizer) -> None:
    objective, calls = quadratic(image(1)), [0]

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        calls[0] += 1
        value, slope = objective(x)
        return (value * float("nan"), slope * float("nan")) if calls[0] == 4 else (value, slope)

    result = optimised(image(0), gradient, optimizer=optimizer, steps=10)
    assert calls[0] == 4
    assert bool(result.isfinite().all())
    assert float((result - image(1)).abs().mean()) < float((image(0) - image(1)).abs().mean())


@pytest.mark.parametrize("optimizer", [LBFGS, ADAM, Optimizer(history=3)])
@pytest.mark.parametrize("done", [1, 2, 7])
def test_going_on_from_a_snapshot_gives_the_same_bits(optimizer: Optimizer, done: int) -> None:
    taken: list[Snapshot] = []

    def keep(take: TakeSnapshot) -> None:
        snapshot = take()
        if snapshot.step == done:
            taken.append(copy.deepcopy(snapshot))

    whole = optimised(image(0), quadratic(image(1), 3.0), optimizer=optimizer, steps=8, on_snapshot=keep)
    shown: list[int] = []
    again = optimised(
        image(0), quadratic(image(1), 3.0), optimizer=optimizer, steps=8, snapshot=taken[0],
        on_step=lambda step, loss: shown.append(step),
    )  # fmt: skip
    assert shown == list(range(done + 1, 9))
    assert torch.equal(again, whole)


@pytest.mark.parametrize("optimizer", [LBFGS, ADAM])
def test_a_step_that_is_broken_off_leaves_the_snapshot_of_the_one_before(optimizer: Optimizer) -> None:
    whole = optimised(image(0), quadratic(image(1), 3.0), optimizer=optimizer, steps=8)
    latest: list[TakeSnapshot] = []
    evaluate, calls = quadratic(image(1), 3.0), 0

    def breaks(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return evaluate(x)

    with pytest.raises(KeyboardInterrupt):
        optimised(image(0), breaks, optimizer=optimizer, steps=8, on_snapshot=latest.append)
    snapshot = latest[-1]()
    assert snapshot.step == 4
    assert torch.equal(optimised(image(0), evaluate, optimizer=optimizer, steps=8, snapshot=snapshot), whole)


@pytest.mark.parametrize("name", ["lbfgs", "adam"])
def test_the_first_step_imports_nothing_when_all_is_made_ready(name: str) -> None:
    code = f"""
import sys, torch
from hires_nst.config import Optimizer
from hires_nst.transfer.minimise import import_optimizers, minimise
from hires_nst.transfer.optimizers import Minimisation
import_optimizers()
before, optimizer = set(sys.modules), Optimizer(name="{name}")
gradient = lambda x: (x.square().sum(), 2 * x.detach())
minimise(Minimisation(start=torch.rand(1, 3, 8, 8), gradient=gradient, optimizer=optimizer, steps=3))
print(len(before), sorted(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    count, added = done.stdout.split(" ", 1)
    assert int(count) > 500
    assert added.strip() == "[]"


@ALL
def test_steps_that_gain_less_than_the_tolerance_are_the_last(optimizer: Optimizer) -> None:
    objective, losses = quadratic(image(1), torch.logspace(-1, 1, 360).view(1, 3, 12, 10)), list[float]()
    found = minimise(
        Minimisation(
            start=image(0), gradient=objective, optimizer=optimizer, steps=400, tolerance=0.02,
            state=OptimizerState(), on_step=lambda step, loss: losses.append(loss),
        )
    )  # fmt: skip
    assert STEPS < found.steps == len(losses) < 400
    assert [gains_less(losses[:step], 0.02, over=STEPS) for step in range(len(losses))] == [False] * len(losses)
    assert gains_less(losses, 0.02, over=STEPS)
    assert found.state is not None and found.state.steps == found.steps
    assert torch.equal(found.image, optimised(image(0), objective, optimizer=optimizer, steps=found.steps))


@ALL
def test_going_on_from_any_snapshot_ends_at_the_same_step(optimizer: Optimizer) -> None:
    task = Minimisation(
        start=image(0), gradient=quadratic(image(1), torch.logspace(-1, 1, 360).view(1, 3, 12, 10)),
        optimizer=optimizer, steps=400, tolerance=0.02,
    )  # fmt: skip
    taken: list[Snapshot] = []
    whole = minimise(replace(task, on_snapshot=lambda take: taken.append(copy.deepcopy(take()))))
    assert len(taken) == whole.steps - 1
    for snapshot in (taken[0], taken[whole.steps // 2], taken[-1]):
        resumed = minimise(replace(task, snapshot=snapshot))
        assert resumed.steps == whole.steps
        assert torch.equal(resumed.image, whole.image)
