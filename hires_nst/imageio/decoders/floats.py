"""Floating-point samples of files: to [0, 1], and what had to be assumed for it."""

from __future__ import annotations

import numpy as np

from hires_nst.imageio.colour import Floats, Notes, UnsupportedColour

_BEYOND_1 = 1.5
"""A picture in 0..1 may overshoot a little; brighter ones are in another range, or have highlights beyond white."""


def unit_samples(samples: Floats, *, colours: int, marked: bool) -> tuple[Floats, Notes]:
    """Floating-point samples of a file in [0, 1].

    1. What is not a number becomes 0.
    2. Samples above 1.5 are taken as 0..255 (or 0..65535 if one is above 255) and divided if all of them are whole
       numbers; or if most of them are above 1, no colour space is `marked`, and the brightest would not be below a
       tenth.
    3. What then lies outside 0..1, such as highlights in linear light, is clipped. If that is more than half, the
       picture is refused: it would become white or black.

    Without a marked space the samples count as sRGB-encoded, not as linear light. Notes say each of these things.

    Args:
        samples: float32 (H, W, C); changed.
        colours: how many of the channels are colours; the others follow them.
        marked: whether a profile or tags name the colour space; it is not applied here.

    Raises UnsupportedColour: more than half of the samples would be clipped.
    """
    notes: Notes = ()
    seen = samples[..., :colours]
    strange = np.isnan(samples)
    if count := int(strange[..., :colours].sum()):
        notes += (f"{_share(count, seen)} of the floating-point samples are not numbers (NaN), and were taken as 0",)
    samples[strange] = 0
    finite = seen[np.isfinite(seen)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    scale = 255 if high <= 255 else 65535
    if _BEYOND_1 < high <= 65535 and low >= 0:
        whole = bool((finite == np.rint(finite)).all())
        if whole or (not marked and high > scale / 10 and np.count_nonzero(finite > 1) > finite.size / 2):
            for channels in (seen, samples[..., colours:]):
                if channels.size and channels[np.isfinite(channels)].max(initial=0) > 1:
                    channels /= scale
            notes += (f"floating-point samples up to {high:.6g} were divided by {scale}",)
    if not marked:
        notes += ("floating-point samples without a colour profile were taken as sRGB, not as linear light",)
    outside = int(np.count_nonzero((seen < 0) | (seen > 1)))
    if outside > seen.size / 2:
        raise UnsupportedColour(
            f"has floating-point samples from {seen.min():.4g} to {seen.max():.4g}, most of them outside 0..1; save it "
            "with samples between 0 (black) and 1 (white)"
        )
    if outside:
        notes += (f"{_share(outside, seen)} of the floating-point samples lay outside 0..1, and were clipped",)
    np.clip(samples, 0, 1, out=samples)
    return samples, notes


def _share(count: int, samples: Floats) -> str:
    percent = 100 * count / samples.size
    return f"{percent:.2g} %" if percent < 99.5 else "nearly all"
