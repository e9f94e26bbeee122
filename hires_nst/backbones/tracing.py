"""Find the operations of a module, and the strides and receptive fields of its layers, with `torch.fx`."""

from __future__ import annotations

import copy
import operator
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.ops.misc import ConvNormActivation
from torchvision.ops.stochastic_depth import StochasticDepth

from hires_nst.backbones.graph import IMAGE, Graph, Kind, Span, Step
from hires_nst.errors import ConfigError

POINTWISE = (
    *(nn.BatchNorm2d, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish),
    *(nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Sigmoid, nn.Tanh, nn.Softplus),
)
"""Modules that compute each position from the same position alone."""

IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout2d, StochasticDepth)
"""Modules that do nothing outside of training."""

OVERWRITABLE: frozenset[Kind] = frozenset({"convolution", "max", "average", "add", "concatenate"})
"""Operations whose gradient does not need their result."""


@dataclass(frozen=True)
class Traced:
    """The operations of a module, and the modules that have their weights, by the names of the steps."""

    graph: Graph
    operations: nn.ModuleDict


def trace(module: nn.Module, layers: Sequence[str], *, name: str) -> Traced:
    """The operations that layers of a module depend on.

    Batch norms are folded into the convolutions before them. The modules are copies, so that what becomes of `module`
    later changes nothing.

    Args:
        module: takes an image (1, 3, H, W); any that `torch.fx` can trace and that consists of convolutions, poolings,
            batch norms, activation functions of single positions, sums, and concatenations of channels.
        layers: as `torchvision.models.feature_extraction.create_feature_extractor` takes them.
        name: of the network, for messages.

    Raises:
        ConfigError: the module cannot be traced, has no such layer, or does something else; the message names it.
    """
    nodes = list(dict.fromkeys(layers))
    try:
        copied = _opened(copy.deepcopy(module)).eval()
        extractor = create_feature_extractor(copied, return_nodes=nodes, suppress_diff_warning=True)
    except (ValueError, TypeError, RuntimeError, AttributeError, fx.proxy.TraceError) as error:
        raise ConfigError(f"the layers of {name} cannot be found: {str(error).splitlines()[0]}") from None
    return _Tracing(extractor, name=name).result(nodes)


def torchvision_model(model: str) -> nn.Module:
    """A network of torchvision's, with everything that its published file has; the weights are not those."""
    options = {"init_weights": False} if model == "inception_v3" else {}  # its initialisation takes long
    made: nn.Module = get_model(model, weights=None, **options)
    return made.eval()


def torchvision_graph(model: str, layers: Sequence[str]) -> Graph:
    """The operations of a network of torchvision's; no weights are made, and nothing is computed."""
    with torch.device("meta"):
        return trace(torchvision_model(model), layers, name=model).graph


def torchvision_operations(model: str, layers: Sequence[str], *, weights: Mapping[str, Tensor]) -> nn.ModuleDict:
    """The modules of a network of torchvision's with these weights, see `weight_files.checked_weights`."""
    module = torchvision_model(model)
    module.load_state_dict(dict(weights), strict=False)  # all but the counters of batch norms, which do nothing
    return trace(module, layers, name=model).operations


class _Tracing:
    """Goes through the nodes of a traced module."""

    def __init__(self, root: fx.GraphModule, *, name: str) -> None:
        self.root, self.name = root, name
        self.steps: dict[str, Step] = {}
        self.operations: dict[str, nn.Module] = {}
        self.values: dict[fx.Node, str] = {}  # the steps that have the nodes' values
        self.kept: set[fx.Node] = set()

    def result(self, layers: Sequence[str]) -> Traced:
        """The operations, for layers in any order."""
        *nodes, output = self.root.graph.nodes
        outputs: Mapping[str, fx.Node] = output.args[0]
        self.kept = set(outputs.values())
        for node in nodes:
            self._add(node)
        found = {layer: self.values[node] for layer, node in outputs.items()}
        for layer in layers:
            if found.get(layer, IMAGE) == IMAGE:
                raise ConfigError(f"{self.name} computes nothing for its layer {layer!r}; leave it out")
        if not any(step.kind == "convolution" for step in self.steps.values()):
            raise ConfigError(f"{self.name} has no convolution up to these layers; choose deeper ones")
        return Traced(Graph(steps=_in_place(self.steps.values(), found), layers=found), nn.ModuleDict(self.operations))

    def _add(self, node: fx.Node) -> None:
        target: Any = node.target
        if node.op == "placeholder":
            if not self.values:  # others are options of the module, and unknown where they are used
                self.values[node] = IMAGE
        elif node.op == "call_module":
            self._add_module(node, self.root.get_submodule(target))
        elif target in (F.relu, torch.relu, "relu", "relu_"):
            in_place = target == "relu_" or bool(_options(node, "inplace").get("inplace"))
            self._add_module(node, nn.ReLU(in_place))
        elif target is F.max_pool2d:
            self._add_module(node, nn.MaxPool2d(**_options(node, "kernel_size", "stride", "padding", "dilation")))
        elif target is F.avg_pool2d:
            names = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", "divisor_override")
            self._add_module(node, nn.AvgPool2d(**_options(node, *names)))
        elif target is F.dropout and not _options(node, "p", "training").get("training", True):
            self._add_module(node, nn.Identity())
        elif target in (operator.add, operator.iadd, torch.add) and not node.kwargs:
            self._put(node, "add", inputs=node.args)
        elif target is torch.cat and node.args and _options(node, "dim").get("dim") == 1:
            self._put(node, "concatenate", inputs=node.args[0])
        else:
            raise self._unknown(node)

    def _add_module(self, node: fx.Node, module: nn.Module) -> None:
        inputs = (*node.args, *node.kwargs.values())[:1]
        before = self._value(node, inputs[0])
        if isinstance(module, IDENTITIES) or (isinstance(module, nn.BatchNorm2d) and self._folded(node, module)):
            self.values[node] = before
        elif isinstance(module, nn.Conv2d):
            self._put(node, "convolution", inputs=inputs, module=copy.deepcopy(module))
        elif isinstance(module, nn.ReLU):
            self._put(node, "relu", inputs=inputs)
        elif isinstance(module, nn.MaxPool2d):
            self._put(node, "max", inputs=inputs, module=module)
        elif isinstance(module, nn.AvgPool2d) and module.divisor_override is None:
            self._put(node, "average", inputs=inputs, module=module)
        elif isinstance(module, POINTWISE):
            self._put(node, "pointwise", inputs=inputs, module=copy.deepcopy(module))
        else:
            raise self._unknown(node)
        if getattr(module, "inplace", False):  # what takes the input later gets the result
            self.values.update({other: self.values[node] for other, name in self.values.items() if name == before})

    def _put(self, node: fx.Node, kind: Kind, *, inputs: Any, module: nn.Module | None = None) -> None:
        """Add the step of a node."""
        names = tuple(self._value(node, source) for source in inputs)
        sources = [self.steps.get(name, _IMAGE_STEP) for name in names]
        stride, channels = sources[0].stride, sources[0].channels
        if any(source.stride != stride or (source.channels != channels and kind == "add") for source in sources):
            raise ConfigError(
                f"{self.name} joins values of different strides or channels, in {node.name}; choose layers before it"
            )
        step = Step(
            name=node.name, kind=kind, inputs=names, stride=stride, channels=channels,
            reach=(_widest(source.reach[0] for source in sources), _widest(source.reach[1] for source in sources)),
        )  # fmt: skip
        if kind == "concatenate":
            step = replace(step, channels=sum(source.channels for source in sources))
        if isinstance(module, (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)):
            step = _moved(step, self._spans(node, module))
        if isinstance(module, nn.AvgPool2d):
            step = replace(step, counts_padding=module.count_include_pad)
        if isinstance(module, nn.Conv2d):
            step = replace(
                step, channels=module.out_channels, multiply_adds=module.weight.numel(), parameters=_size(module)
            )
        if isinstance(module, (nn.Conv2d, *POINTWISE)):
            self.operations[node.name] = _plain(module)
        self.steps[node.name], self.values[node] = step, node.name

    def _folded(self, node: fx.Node, norm: nn.BatchNorm2d) -> bool:
        """Fold a batch norm into the convolution before it, if there is one that serves nothing else."""
        if norm.running_mean is None or norm.running_var is None:
            raise ConfigError(f"{self.name} has a batch norm without running statistics, {node.target}; it needs them")
        (source,) = node.args
        assert isinstance(source, fx.Node)
        convolution = self.operations.get(source.name)
        if not isinstance(convolution, nn.Conv2d) or len(source.users) > 1 or source in self.kept:
            return False
        fused = fuse_conv_bn_eval(convolution, norm.eval())
        self.operations[source.name] = fused
        self.steps[source.name] = replace(self.steps[source.name], parameters=_size(fused))
        return True

    def _spans(self, node: fx.Node, module: nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d) -> tuple[Span, Span]:
        """Along the rows and along the columns."""
        kernels, strides = _pair(module.kernel_size), _pair(module.stride)
        dilations = _pair(1 if isinstance(module, nn.AvgPool2d) else module.dilation)
        paddings = _pair(0 if isinstance(module.padding, str) else module.padding)  # Span finds that of "same"
        if strides[0] != strides[1]:
            raise ConfigError(f"{self.name} has different strides along rows and columns, in {node.name}")
        rows, columns = (
            Span.of(kernels[axis], strides[axis], dilation=dilations[axis], padding=paddings[axis]) for axis in (0, 1)
        )
        return rows, columns

    def _value(self, node: fx.Node, source: Any) -> str:
        """The step that has the value of an input."""
        if not isinstance(source, fx.Node) or source not in self.values:
            raise self._unknown(node)
        return self.values[source]

    def _unknown(self, node: fx.Node) -> ConfigError:
        what = type(self.root.get_submodule(str(node.target))).__name__ if node.op == "call_module" else node.target
        return ConfigError(
            f"{self.name} cannot be evaluated in tiles: {node.name} ({getattr(what, '__name__', what)}) is none of the "
            "operations whose receptive field is known, which are convolutions, poolings, batch norms, activation "
            "functions, sums and concatenations; choose layers before it"
        )


def _opened(module: nn.Module) -> nn.Module:
    """The module with torchvision's blocks of convolution, norm and activation as plain rows, which are traced into."""
    for name, child in list(module.named_children()):
        opened = _opened(child)
        setattr(module, name, nn.Sequential(*opened) if isinstance(opened, ConvNormActivation) else opened)
    return module


_IMAGE_STEP = Step(name=IMAGE, kind="pointwise", inputs=(), channels=3, stride=1, reach=((0, 0), (0, 0)))


def _moved(step: Step, spans: tuple[Span, Span]) -> Step:
    """A step that so far has the geometry of its input, with that of its result."""
    rows, columns = (span.reach(reach, step.stride) for span, reach in zip(spans, step.reach, strict=True))
    return replace(step, spans=spans, stride=step.stride * spans[0].stride, reach=(rows, columns))


def _in_place(steps: Any, layers: Mapping[str, str]) -> tuple[Step, ...]:
    """The steps, of which those work in place that may."""
    found, kinds = [], {}
    uses = Counter(name for step in steps for name in step.inputs)
    uses.update(layers.values())
    for step in steps:
        kinds[step.name] = step.kind
        free = [name for name in step.inputs if uses[name] == 1 and kinds.get(name) in OVERWRITABLE]
        if free and step.kind in ("relu", "add"):
            others = list(step.inputs)
            others.remove(free[0])
            step = replace(step, inputs=(free[0], *others), in_place=True)
        found.append(step)
    return tuple(found)


def _widest(reaches: Any) -> tuple[int, int]:
    before, after = zip(*reaches, strict=True)
    return max(before), max(after)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _plain(module: nn.Module) -> nn.Module:
    """The module so that it changes nothing in place."""
    if hasattr(module, "inplace"):
        setattr(module, "inplace", False)  # noqa: B010 - not an attribute of every module
    return module


def _options(node: fx.Node, *names: str) -> dict[str, Any]:
    """The arguments of a call after the first one, by name; those that have other names are left out."""
    given = {**dict(zip(names, node.args[1:], strict=False)), **node.kwargs}
    return {name: given[name] for name in names if name in given}
