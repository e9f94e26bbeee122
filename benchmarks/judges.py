"""Networks that judge pictures: the one that they were painted with, and two published ones that no picture was.

The published ones are read from the folder of teachers of `vgg19-slim`, where it is there: the first three blocks of
VGG-19 (Simonyan and Zisserman 2014) and the 16x encoder (Wang et al. 2020).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import plain
import torch
from common import ROOT
from torch import Tensor

from hires_nst.backbones.network import Network
from hires_nst.evaluation.evaluate import LOSS_EDGE
from hires_nst.evaluation.metrics import reduced
from hires_nst.imageio.picture import Floats
from hires_nst.imageio.resize import resize_pixels


@dataclass(frozen=True)
class Verdict:
    """Sums over the layers: of the plain mean-covariance loss, and of |F - F_c|^2 / |F_c|^2."""

    style: float
    content: float


@dataclass(frozen=True, eq=False)
class Judge:
    """A network with the layers that count."""

    name: str
    network: Network
    style_layers: Sequence[str] = plain.STYLE_LAYERS
    content_layers: Sequence[str] = (plain.CONTENT_LAYER,)

    @torch.no_grad()
    def __call__(self, picture: Floats, content: Floats, style: Floats) -> Verdict:
        """The losses of a picture, reduced to a long edge of LOSS_EDGE pixels as `hires_nst.evaluate` does.

        Args:
            content: brought to the picture's size; all are (H, W, 3) in [0, 1].
            style: reduced to the picture's long edge, never enlarged.
        """
        small = reduced(picture, LOSS_EDGE)
        height, width = small.shape[:2]
        both = {*self.style_layers, *self.content_layers}
        image = self.network(tensor(small), both)
        photograph = self.network(tensor(resize_pixels(content, (width, height))), self.content_layers)
        painting = self.network(tensor(reduced(style, max(height, width))), self.style_layers)
        of_style = sum(
            plain.mean_covariance(plain.Gaussian.of(image[layer]), plain.Gaussian.of(painting[layer]))
            for layer in self.style_layers
        )
        of_content = sum(plain.relative(image[layer], photograph[layer]) for layer in self.content_layers)
        return Verdict(float(of_style), float(of_content))


def tensor(pixels: Floats) -> Tensor:
    """(H, W, 3) as (1, 3, H, W)."""
    return torch.tensor(pixels).permute(2, 0, 1)[None].contiguous()


def published(shared: Path) -> list[Judge]:
    """The two published networks; none, and a line that says so, where the folder has no teachers."""
    sys.path.append(str(ROOT / "tools"))
    from slim_networks import NAMES, encoder_16x, original_vgg19

    folder = shared / "teachers"
    try:
        shallow, encoder = original_vgg19(folder), encoder_16x(folder)
    except FileNotFoundError as error:
        print(f"no judging by published networks: {error}")
        return []
    finally:
        sys.path.remove(str(ROOT / "tools"))
    deepest = NAMES[7]  # of the blocks that are there
    return [
        Judge("VGG-19", shallow, ("conv1_1", "conv2_1", "conv3_1"), (deepest,)),
        Judge("16x encoder", encoder),
    ]
