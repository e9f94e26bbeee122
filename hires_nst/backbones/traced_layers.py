"""The descriptions of networks that are traced, whose strides and receptive fields follow from their operations.

Nothing here imports torch, except when the operations of a network of torchvision's are first needed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hires_nst.backbones.description import Backbone, Layer, Stored
from hires_nst.backbones.graph import IMAGE, Graph


@dataclass(frozen=True, kw_only=True)
class TracedBackbone(Backbone):
    """A network whose strides and receptive fields are found in its operations, see `tracing`."""

    @cached_property
    def graph(self) -> Graph:
        """The network's operations."""
        raise NotImplementedError

    @cached_property
    def layers(self) -> Mapping[str, Layer]:
        """The layers with the geometry that was found; the radius is the largest reach in any direction."""
        steps = {step.name: step for step in self.graph.steps}
        layers: dict[str, Layer] = {}
        for layer, name in self.graph.layers.items():
            step = steps[name]
            radius = max(*step.reach[0], *step.reach[1])
            layers[layer] = Layer(name=layer, channels=step.channels, stride=step.stride, radius=radius)
        return layers

    @property
    def parameters(self) -> int:
        """Weights and biases of the convolutions, after batch norms have been folded into them."""
        return sum(step.parameters for step in self.graph.steps)

    def multiply_adds(self) -> float:
        """Multiply-adds per pixel of a full forward pass."""
        return sum(step.multiply_adds / step.stride**2 for step in self.graph.steps)

    def stored(self, layers: Collection[str]) -> Stored:
        """Padded inputs of convolutions, and the results of all that does not work in place."""
        steps, sizes = self.graph.needed(layers), {IMAGE: 3.0}
        values, indices = 0.0, 0.0
        for step in steps:
            sizes[step.name] = step.size
            values += sizes[step.inputs[0]] if step.kind == "convolution" else 0
            values += 0 if step.in_place else step.size
            indices += step.size if step.kind == "max" else 0
        return Stored(values, indices, max((step.size for step in steps), default=0))


@dataclass(frozen=True, kw_only=True)
class TorchvisionBackbone(TracedBackbone):
    """A network of torchvision's.

    Attributes:
        model: torchvision's name of it.
        names: the layers, as `torchvision.models.feature_extraction` names them, shallow to deep.
    """

    model: str
    names: tuple[str, ...]

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers whose activations can be extracted; known without a look at the network."""
        return self.names

    @cached_property
    def graph(self) -> Graph:
        """The network's operations, found when they are first needed; imports torch."""
        from hires_nst.backbones.tracing import torchvision_graph

        return torchvision_graph(self.model, self.names)


@dataclass(frozen=True, kw_only=True)
class OwnBackbone(TracedBackbone):
    """A network that was registered from Python, see `own.register_network`.

    Attributes:
        found: its operations.
        modules: of the operations by name; they do not travel with the description to other processes.
    """

    found: Graph
    modules: Any = field(repr=False, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the modules, which the network itself has."""
        return {**self.__dict__, "modules": None}

    @cached_property
    def graph(self) -> Graph:
        """The network's operations."""
        return self.found
