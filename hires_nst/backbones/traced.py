"""The feature extractor of a network that was traced: torchvision's, or a module of the user's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hires_nst.backbones.graph import IMAGE, Span, Step
from hires_nst.backbones.network import Network, Padding
from hires_nst.backbones.traced_layers import TracedBackbone
from hires_nst.errors import InputError


class TracedNetwork(Network):
    """Activations of a network of convolutions, poolings, activation functions, sums and concatenations.

    Positions lie on a grid of cells (see `Layer`), for which convolutions and poolings may be padded otherwise than in
    the network that was traced (see `Span`). The edges of an image have the chosen padding, except that max pooling
    takes nothing from beyond them, which for odd kernels is the same as replicating or reflecting.

    Args:
        operations: the modules with weights by the names of the steps, see `tracing.Traced`.
        padding: see `Network`.
    """

    backbone: TracedBackbone

    def __init__(self, backbone: TracedBackbone, operations: nn.ModuleDict, *, padding: Padding) -> None:
        super().__init__(backbone, operations, padding=padding)

    def features(self, x: Tensor, wanted: Collection[str], *, check_stop: Callable[[], None]) -> dict[str, Tensor]:
        """Activations of layers, see `Network.forward`; each other result is released after its last use."""
        steps = self.backbone.graph.needed(wanted)
        uses = Counter(name for step in steps for name in step.inputs)
        uses.update(self.backbone.graph.layers[layer] for layer in wanted)
        values = {IMAGE: x}
        for step in steps:
            if step.kind == "convolution":
                check_stop()
            result = self._result(step, [values[name] for name in step.inputs])
            if step.kind == "convolution" and result.requires_grad:
                result.register_hook(lambda _: check_stop())  # type: ignore[no-untyped-call]
            values[step.name] = result
            for name in step.inputs:
                uses[name] -= 1
                if not uses[name]:
                    del values[name]
        return {layer: values[self.backbone.graph.layers[layer]] for layer in wanted}

    def _result(self, step: Step, inputs: Sequence[Tensor]) -> Tensor:
        """What a step makes of its inputs."""
        x = inputs[0]
        if step.kind == "convolution":
            return self._convolved(step, x)
        if step.kind == "relu":
            return x.relu_() if step.in_place else x.relu()
        if step.kind == "add":
            return x.add_(inputs[1]) if step.in_place else x + inputs[1]
        if step.kind == "concatenate":
            return torch.cat(tuple(inputs), dim=1)
        if step.kind == "max":
            return self._max(step, x)
        if step.kind == "average":
            return self._averaged(step, x)
        result: Tensor = self.operations[step.name](x)
        return result

    def _convolved(self, step: Step, x: Tensor) -> Tensor:
        """A convolution; padded with zeros by itself, which saves a copy."""
        module = cast(nn.Conv2d, self.operations[step.name])
        spans, padding = _spans(step), (0, 0)
        if self.padding == "zeros":
            padding, padded = (spans[0].before, spans[1].before), x
        else:
            padded = self._padded(x, spans)
        result = F.conv2d(padded, module.weight, module.bias, module.stride, padding, module.dilation, module.groups)
        return _on_grid(result, x, spans=spans)

    def _max(self, step: Step, x: Tensor) -> Tensor:
        """Max pooling."""
        spans = _spans(step)
        rows, columns = spans
        result = F.max_pool2d(
            x, (rows.kernel, columns.kernel), (rows.stride, columns.stride), (rows.before, columns.before),
            (rows.dilation, columns.dilation),
        )  # fmt: skip
        return _on_grid(result, x, spans=spans)

    def _averaged(self, step: Step, x: Tensor) -> Tensor:
        """Average pooling."""
        spans, padding = _spans(step), (0, 0)
        rows, columns = spans
        if self.padding == "zeros":
            padding, padded = (rows.before, columns.before), x
        else:
            padded = self._padded(x, spans)
        result = F.avg_pool2d(
            padded, (rows.kernel, columns.kernel), (rows.stride, columns.stride), padding,
            count_include_pad=step.counts_padding,
        )  # fmt: skip
        return _on_grid(result, x, spans=spans)

    def _padded(self, x: Tensor, spans: tuple[Span, Span]) -> Tensor:
        """`x` with what a convolution or pooling reads beyond its edges."""
        rows, columns = spans
        margins = (columns.before, max(0, columns.after), rows.before, max(0, rows.after))
        if not any(margins):
            return x
        if self.padding == "reflect" and (max(margins[:2]) >= x.shape[3] or max(margins[2:]) >= x.shape[2]):
            raise InputError(
                f"an image is too small to be reflected at its edges by {self.backbone.name}; choose another "
                "model.padding, such as replicate, or larger tiles or pictures"
            )
        return F.pad(x, margins, mode=self.padding)


def _spans(step: Step) -> tuple[Span, Span]:
    assert step.spans is not None
    return step.spans


def _on_grid(result: Tensor, x: Tensor, *, spans: tuple[Span, Span]) -> Tensor:
    """The positions of whose cells all lies inside `x`."""
    height, width = x.shape[2] // spans[0].stride, x.shape[3] // spans[1].stride
    return result if result.shape[2:] == (height, width) else result[:, :, :height, :width]
