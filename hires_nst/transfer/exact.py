"""A round of the `exact` coupling, the reference: the whole canvas is one variable, its gradient evaluated in tiles."""

from __future__ import annotations

import time
from functools import partial

import torch
from torch import Tensor

from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.minimise import minimise
from hires_nst.transfer.optimizers import Minimisation
from hires_nst.transfer.rounds import OptimizerCanvases, Round, RoundListener, RoundResult, RoundStore
from hires_nst.transfer.tiles import Tile


def refine_exactly(current: Round, *, listener: RoundListener, store: RoundStore) -> RoundResult:
    """Take the steps of a round with the untiled gradient; see `refine_round`."""
    began, canvas, objective = time.monotonic(), current.canvas, current.objective
    listener.round_started(None)
    work, whole = canvas.copy(), Tile(index=0, row=0, column=0, owned=canvas.image, window=canvas.image)
    read = partial(Canvas.read, rect=canvas.image, device=torch.device("cpu"), dtype=objective.extract.dtype)

    def gradient(x: Tensor) -> tuple[Tensor, Tensor]:
        work.write(work.image, x)
        return objective.gradient(work, current.content_canvas, grid=current.grid)

    before = current.optimizer_canvases
    found = minimise(
        Minimisation(
            start=read(canvas), gradient=gradient, optimizer=current.optimizer, steps=current.steps,
            state=None if before is None else before.read(read),
            on_step=lambda step, loss: listener.step_finished(0, step, loss=loss),
            on_snapshot=partial(store.save_snapshot, whole), snapshot=store.load_snapshot(whole),
        )
    )  # fmt: skip
    after = None
    if found.state is not None:
        canvases = {name: canvas if name == "start" else canvas.blank() for name in found.state.tensors}
        for name, tensor in found.state.tensors.items():
            if name != "start":
                canvases[name].write(canvas.image, tensor)
        after = OptimizerCanvases(canvases, found.state.steps)
    work.write(work.image, found.image)
    work.clip()
    listener.tile_finished(0, loss=found.loss, seconds=time.monotonic() - began)
    return RoundResult(work, found.loss, after)
