"""The terms that are plain sums over an image: the content loss and the total variation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from hires_nst.imageio.picture import LUMA
from hires_nst.transfer.reductions import product, total


def content_sum(
    features: Tensor, target: Tensor, *, weights: Tensor | None = None, norms: Sequence[float] | None = None
) -> Tensor:
    """|F - F_c|^2 summed over channels and positions (Gatys et al. 2015, equation 1, without the factor 1/2).

    Args:
        features, target: (1, C, h, w). Summed in float32 at least.
        weights: of the positions, (1, 1, h, w).
        norms: what the squares of each of the C channels are divided by; None for 1.
    """
    dtype = torch.promote_types(features.dtype, torch.float32)
    squares = (features.to(dtype) - target.to(dtype)).square()
    if norms is not None:
        squares = squares / torch.tensor(norms, dtype=dtype).to(features.device)[:, None, None]
    return total(squares if weights is None else squares * weights)


def desaturated(image: Tensor, share: float) -> Tensor:
    """An image, (1, 3, h, w), with a share of it replaced by the mean of its channels; itself for 0.

    The mean rather than the luma, so that with a share of 1 the gradient is the same in all channels: an image that
    begins grey stays grey to the bit, whatever the optimiser.
    """
    return (1 - share) * image + share * image.mean(1, keepdim=True) if share else image


def colours(image: Tensor) -> Tensor:
    """An image less its brightness (the luma of ITU-R BT.601, `imageio.picture.luma`), (1, 3, h, w)."""
    weights = torch.cat([image.new_full((1,), share) for share in LUMA])  # made there: nothing comes from the host
    without = torch.eye(3, dtype=image.dtype, device=image.device) - weights
    return product(without, image[0].flatten(1)).view(image.shape)  # one product is faster than a sum over channels


def variation_sum(image: Tensor, *, owned_rows: slice, owned_columns: slice, weights: Tensor | None = None) -> Tensor:
    """Squared differences to the right and the lower neighbour, summed over the pixels of `owned` (anisotropic TV-L2).

    Args:
        image: (1, 3, h, w) in [0, 1]; a pixel without a right (lower) neighbour in it has no such difference.
        owned_rows, owned_columns: the pixels whose differences count.
        weights: of the pixels, (1, 1, h, w); a difference weighs the smaller of its two.
    """
    top, left = owned_rows.start, owned_columns.start
    across = (owned_rows, slice(left, owned_columns.stop + 1))
    down = (slice(top, owned_rows.stop + 1), owned_columns)
    result = torch.zeros((), dtype=image.dtype, device=image.device)
    for (rows, columns), axis in ((across, 3), (down, 2)):
        squares = image[:, :, rows, columns].diff(dim=axis).square()
        if weights is not None:
            own, length = weights[:, :, rows, columns], squares.shape[axis]
            squares = squares * torch.minimum(own.narrow(axis, 0, length), own.narrow(axis, 1, length))
        result = result + total(squares)
    return result
