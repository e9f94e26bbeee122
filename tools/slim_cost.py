"""The cost of an evaluation, in seconds and bytes per megapixel; each network in a process of its own."""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import torch
from slim_networks import MEAN, STD, student

from hires_nst.backbones.registry import VGG19
from hires_nst.backbones.vgg import VGG
from hires_nst.config import Loss

LAYERS = (*Loss().style_layers, *Loss().content_layers)


def vgg19_shape() -> VGG:
    """VGG-19 up to conv5_1 with random weights: the cost does not depend on them."""
    backbone = dataclasses.replace(
        VGG19, blocks=(*VGG19.blocks[:4], VGG19.blocks[4][:1]), mean=(MEAN,) * 3, std=(STD,) * 3
    )
    weights = {}
    for conv in backbone.convolutions:
        scale = (2 / (9 * conv.in_channels)) ** 0.5
        weights[f"{conv.name}.weight"] = torch.randn(conv.out_channels, conv.in_channels, 3, 3) * scale
        weights[f"{conv.name}.bias"] = torch.zeros(conv.out_channels)
    return VGG(backbone, weights, pooling=backbone.pooling)


def memory(kind: str) -> int:
    """Resident bytes of this process now (VmRSS) or at its peak (VmHWM), from Linux.

    `getrusage` cannot be used: its peak includes that of the parent process.
    """
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(lines[kind].split()[0])


def cost(network: VGG, side: int, repeats: int) -> tuple[float, int]:
    """CPU seconds of an evaluation with gradient, the minimum of several, and the bytes that it adds to the peak."""
    image = torch.rand(1, 3, side, side, requires_grad=True)
    before = memory("VmRSS")
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        value = torch.stack([f.square().mean() for f in network(image, LAYERS).values()]).sum()
        torch.autograd.grad(value, image)
        seconds.append(time.process_time() - began)
    return min(seconds), memory("VmHWM") - before


def measured(file: Path | None, *, side: int = 1024, repeats: int = 3) -> tuple[float, float]:
    """`cost` of a student's file, or of VGG-19, per megapixel, in a process of its own."""
    command = [sys.executable, __file__, str(file or "-"), str(side), str(repeats)]
    seconds, size = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    megapixels = side * side / 1e6
    return float(seconds) / megapixels, float(size) / megapixels


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("side", type=int)
    parser.add_argument("repeats", type=int)
    options = parser.parse_args()
    chosen = vgg19_shape() if options.file == "-" else student("student", Path(options.file))
    print(*cost(chosen, options.side, options.repeats))
