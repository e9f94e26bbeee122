"""Pixels as they are, as a Laplacian pyramid and as a Fourier spectrum (Olah, Mordvintsev, Schubert 2017).

python benchmarks/pixels.py [--size 256 --evaluations 100] [--vgg19 vgg19_caffe_conv1_to_conv3.safetensors]

An image is written as start + P z. The parametrization is a preconditioner: P P^T gives the gradient the spectrum of
natural images. VGG-19 represents a large network; a file with its first three blocks is enough.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from common import PAIRS, extractor, objective_for, picture, report, scores
from torch import Tensor

from hires_nst.backbones.registry import VGG19
from hires_nst.backbones.weights import load_network
from hires_nst.config import Config, Levels, Loss, Optimizer, OptimizerName
from hires_nst.evaluation.metrics import roughness
from hires_nst.imageio.resize import resize_pixels
from hires_nst.transfer.canvas import Canvas
from hires_nst.transfer.extractor import Extractor
from hires_nst.transfer.lbfgs import FIRST_CHANGE, GRADIENT_SCALE
from hires_nst.transfer.minimise import minimise
from hires_nst.transfer.optimizers import Gradient, Minimisation
from hires_nst.transfer.parametrization import Parametrization
from hires_nst.transfer.refine import refine_round, tile_gradient
from hires_nst.transfer.rounds import OptimizerCanvases, Round
from hires_nst.transfer.tiles import make_grid

COLOURS = torch.tensor([[0.26, 0.09, 0.02], [0.27, 0.00, -0.05], [0.27, -0.09, 0.03]]) / 0.4619
"""From decorrelated channels to RGB (the square root of the colours' covariance in ImageNet, as in Lucid)."""

Decode = Callable[[list[Tensor]], Tensor]


@dataclass(frozen=True)
class Pixels:
    """A parametrization: its coefficients, all zero at the start, and their (1, 3, h, w) change of the image."""

    coefficients: list[Tensor]
    decode: Decode


def laplacian(height: int, width: int) -> Pixels:
    """The program's pyramid, without the preconditioner that it has there."""
    pyramid = Parametrization(height, width, "laplacian")
    return Pixels([torch.zeros(pyramid.length, requires_grad=True)], lambda z: pyramid.change(z[0]))


def fourier(height: int, width: int) -> Pixels:
    """A spectrum whose coefficients are scaled by 1 / frequency, in decorrelated colours."""
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)
    scale = torch.from_numpy(1 / np.maximum(np.hypot(rows, columns), 1 / max(height, width))).float()
    scale = scale / scale.square().mean().sqrt()
    spectrum = torch.zeros(1, 3, height, width // 2 + 1, 2, requires_grad=True)

    def decode(z: list[Tensor]) -> Tensor:
        image = torch.fft.irfft2(torch.view_as_complex(z[0]) * scale, s=(height, width), norm="ortho")
        return torch.einsum("rc,bchw->brhw", COLOURS, image)

    return Pixels([spectrum], decode)


def descend(start: Tensor, gradient: Gradient, pixels: Pixels, optimizer: Optimizer, steps: int) -> Tensor:
    """As `minimise`, in the coefficients of a parametrization; evaluated at the pixels clamped to [0, 1]."""
    z = pixels.coefficients
    state = {"scale": 1.0}

    def closure() -> float:
        now = start + pixels.decode(z)
        value, slope = gradient(now.detach().clamp(0, 1).requires_grad_())
        outward = ((now < 0) & (slope > 0)) | ((now > 1) & (slope < 0))
        slope = slope.masked_fill(outward, 0)
        for coefficient, g in zip(z, torch.autograd.grad(now, z, slope * state["scale"]), strict=True):
            coefficient.grad = g.contiguous()
        return float(value) * state["scale"]

    if optimizer.name == "adam":
        adam = torch.optim.Adam(z, lr=optimizer.rate)
        for _ in range(steps):
            closure()
            adam.step()
    else:
        closure()
        size = sum(float(c.grad.abs().sum()) for c in z if c.grad is not None)
        state["scale"] = GRADIENT_SCALE / size
        with torch.no_grad():
            change = pixels.decode([c.grad / size for c in z if c.grad is not None]).abs().mean()
        method = torch.optim.LBFGS(z, max_iter=1, history_size=optimizer.history, tolerance_grad=0, tolerance_change=0)
        method.param_groups[0]["lr"] = FIRST_CHANGE / float(change)
        for _ in range(steps - 1):
            method.step(closure)  # type: ignore[no-untyped-call]
            method.param_groups[0]["lr"] = optimizer.rate
    return (start + pixels.decode(z)).detach().clamp(0, 1)


def traced(gradient: Gradient, trace: list[float]) -> Gradient:
    """The same gradient, with each value appended to `trace`."""

    def recorded(image: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = gradient(image)
        trace.append(float(value))
        return value, slope

    return recorded


def vgg19(file: Path) -> tuple[Extractor, Config]:
    """The first three blocks of VGG-19, and losses on them."""
    centre = (123.68 / 255, 116.779 / 255, 103.939 / 255)
    known = VGG19
    backbone = dataclasses.replace(known, blocks=known.blocks[:3], mean=centre, std=(1 / 255,) * 3)
    network = load_network(backbone, pooling="max", padding="replicate", file=file)
    layers = dict.fromkeys(("conv1_1", "conv2_1", "conv3_1"), 1.0)
    return Extractor(network), Config(loss=Loss(style_layers=layers, content_layers={"conv3_4": 1.0}))


def fine(extract: Extractor, config: Config, names: tuple[str, str], size: int) -> list[list[str]]:
    """A level of 32 evaluations in the default rounds, from a coarse level of half the size with plain pixels."""
    rows, canvas = [], None
    for side in (size, 2 * size):
        content = picture("contents", names[0], side, side)
        objective = objective_for(extract, config, content, picture("styles", names[1], side, side))
        grid = make_grid(side, side, size=side, stride=16)
        if canvas is None:
            start = content
        else:
            start = Canvas.of(resize_pixels(canvas.pixels, (side, side)))
            start.clip()
        for pixels in ("plain",) if canvas is None else ("plain", "laplacian"):
            result, levels = start, Levels()
            optimizer_canvases: OptimizerCanvases | None = OptimizerCanvases()
            for _ in range(1 if canvas is None else levels.rounds):
                painted = refine_round(
                    Round(
                        canvas=result, content_canvas=content, objective=objective, grid=grid, measure_grid=grid,
                        coupling="balanced", optimizer=Optimizer.model_validate({"pixels": pixels}),
                        steps=80 if canvas is None else levels.steps, optimizer_canvases=optimizer_canvases,
                    )
                )  # fmt: skip
                result, optimizer_canvases = painted.canvas, painted.optimizer_canvases
            if canvas is not None:
                style, error = scores(objective, result, content)
                total = config.loss.style_weight * style + objective.content_weight * error
                values = f"{total:.4f}", f"{style:.4f}", f"{error:.4f}", f"{roughness(result.pixels):.0f}"
                rows.append([", ".join(names), f"L-BFGS, {pixels}", *values])
                print(rows[-1], flush=True)
        canvas = result
    return rows


METHODS: dict[str, tuple[str, OptimizerName, float | None]] = {
    "Adam 0.02": ("plain", "adam", 0.02),
    "Adam 0.05": ("plain", "adam", 0.05),
    "Laplacian, Adam 0.01": ("laplacian", "adam", 0.01),
    "Laplacian, Adam 0.02": ("laplacian", "adam", 0.02),
    "Fourier, Adam 0.02": ("fourier", "adam", 0.02),
    "Fourier, Adam 0.05": ("fourier", "adam", 0.05),
    "**L-BFGS, preconditioned** (default)": ("plain", "lbfgs", None),
    "Laplacian, L-BFGS, preconditioned": ("program", "lbfgs", None),
    "Laplacian, L-BFGS": ("laplacian", "lbfgs", None),
    "Fourier, L-BFGS": ("fourier", "lbfgs", None),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--evaluations", type=int, default=100)
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    parser.add_argument("--vgg19", type=Path, help="weights of conv1_1 to conv3_4, under torchvision's names")
    options = parser.parse_args()
    size, half = options.size, options.evaluations // 2
    networks = {"vgg19-slim": (extractor(Config()), Config())}
    if options.vgg19 is not None:
        networks["VGG-19, conv1 to conv3"] = vgg19(options.vgg19)
    rows = []
    for network, (extract, config) in networks.items():
        for content_name, style_name in PAIRS[: options.pairs]:
            content = picture("contents", content_name, size, size)
            objective = objective_for(extract, config, content, picture("styles", style_name, size, size))
            (tile,) = make_grid(size, size, size=size, stride=16).tiles
            start = extract.read(content, tile.window)
            features = objective.content_features(content, tile.window)
            gradient = tile_gradient(objective, tile, content_features=features, start=None)
            for method, (kind, name, rate) in METHODS.items():
                optimizer = Optimizer(name=name, learning_rate=rate)
                trace: list[float] = []
                recorded = traced(gradient, trace)
                if kind in ("plain", "program"):
                    variables = "laplacian" if kind == "program" else "plain"
                    optimizer = optimizer.model_copy(update={"pixels": variables})
                    task = Minimisation(start=start, gradient=recorded, optimizer=optimizer, steps=options.evaluations)
                    image = minimise(task).image
                else:
                    pixels = (laplacian if kind == "laplacian" else fourier)(size, size)
                    image = descend(start, recorded, pixels, optimizer, options.evaluations)
                result = Canvas.of(image[0].permute(1, 2, 0).contiguous().numpy())
                style, error = scores(objective, result, content)
                total = config.loss.style_weight * style + objective.content_weight * error
                values = f"{trace[half]:.4f}", f"{total:.4f}", f"{style:.4f}", f"{error:.4f}"
                rows.append(
                    [network, f"{content_name}, {style_name}", method, *values, f"{roughness(result.pixels):.0f}"]
                )
                print(rows[-1], flush=True)
    report(
        "pixels",
        f"Parametrisations of the pixels, {size} x {size} px, from the photograph",
        [
            *("network", "content, style", "method", f"objective after {half}", f"after {options.evaluations}"),
            *("style loss", "content loss", "power above 3/4 Nyquist"),
        ],
        rows,
        [
            "Power above three quarters of the Nyquist frequency is the mean per pixel, times 1e6.",
            "`Laplacian, L-BFGS, preconditioned` is the option `optimizer.pixels: laplacian`; pixels_in_rounds.md",
            "measures it at a finer level.",
        ],
    )
    extract, config = networks["vgg19-slim"]
    rounds = Levels()
    report(
        "pixels_in_rounds",
        f"Parametrisations in {rounds.rounds} x {rounds.steps} evaluations, {2 * size} x {2 * size} px, vgg19-slim",
        ["content, style", "method", "objective", "style loss", "content loss", "power above 3/4 Nyquist"],
        [row for names in PAIRS[: options.pairs] for row in fine(extract, config, names, size)],
        ["From a coarse level of half the size (80 evaluations of L-BFGS on plain pixels), enlarged; one tile."],
        script="pixels",
    )


if __name__ == "__main__":
    main()
