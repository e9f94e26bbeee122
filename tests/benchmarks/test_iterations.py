"""The scheme in blocks against the same picture at once."""

from __future__ import annotations

import iterations
import pytest
import torch
import torch.nn.functional as F


def test_the_gradient_in_blocks_is_that_of_the_whole_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(iterations, "BLOCK", 96)
    monkeypatch.setattr(iterations, "MARGIN", 80)
    problem = iterations.Problem.of("spst", "vgg19-slim", 192)
    with torch.enable_grad():
        (value, whole), (other, blocks) = (
            make(problem)(problem.photograph) for make in (iterations.at_once, iterations.in_blocks)
        )
    assert float(other) == pytest.approx(float(value), rel=0.05)
    assert F.cosine_similarity(whole.flatten(), blocks.flatten(), dim=0) > 0.98
