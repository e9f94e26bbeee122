"""Networks whose operations are found: their features, their geometry, and what is refused."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.feature_extraction import create_feature_extractor

import hires_nst
from hires_nst.backbones.graph import Graph, Span
from hires_nst.backbones.network import Padding
from hires_nst.backbones.registry import BACKBONES, VGG19
from hires_nst.backbones.traced import TracedNetwork
from hires_nst.backbones.traced_layers import TorchvisionBackbone
from hires_nst.backbones.tracing import torchvision_model, trace
from hires_nst.backbones.weights import load_network
from hires_nst.errors import ConfigError, InputError
from tests.backbones.networks import LAYERS, known_networks, module, traced_network
from tests.backbones.test_vgg import smooth_image

KINDS = tuple(LAYERS)
TORCHVISION = ("resnet50", "inception-v3")


known = pytest.fixture(autouse=True)(known_networks)


def normalised(image: Tensor, network: TracedNetwork) -> Tensor:
    return (image - network.mean) / network.std


def plain(kind: str, image: Tensor) -> dict[str, Tensor]:
    """Activations as torchvision extracts them."""
    extractor = create_feature_extractor(module(kind), list(LAYERS[kind]), suppress_diff_warning=True).eval()
    with torch.no_grad():
        features: dict[str, Tensor] = extractor(image)
    return features


# Features.


@pytest.mark.parametrize("kind", ["resnet", "others"])
def test_features_are_those_of_the_module_where_its_own_padding_keeps_the_grid(kind: str) -> None:
    network, image = traced_network(kind, padding="zeros"), smooth_image(96, 128)
    expected = plain(kind, normalised(image, network))
    features = network(image, LAYERS[kind])
    for layer, feature in features.items():
        theirs = expected[layer]
        if layer == "down":  # 2 x 2 unpadded: one position less, and the first one has no neighbours before it
            feature, theirs = feature[:, :, 1:, 1:], theirs
        assert torch.allclose(feature, theirs, rtol=1e-9, atol=1e-12), layer
        assert feature.is_contiguous(memory_format=torch.channels_last) or layer == "down"


def test_blocks_of_torchvision_are_traced_into_whatever_mode_they_are_in() -> None:
    torch.manual_seed(0)
    mobile, layers = get_model("mobilenet_v2", weights=None), ["features.0", "features.3", "features.6"]
    for part in mobile.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
    hires_nst.register_network("mobile", mobile.train(), style_layers=layers[:2], content_layers=layers[2:])
    backbone, image = BACKBONES["mobile"], smooth_image(64, 96).float()
    assert mobile.training
    network = load_network(backbone, pooling="max", padding="zeros")
    expected = create_feature_extractor(mobile, layers, suppress_diff_warning=True).eval()(image)
    for layer, feature in network(image, layers).items():
        torch.testing.assert_close(feature, expected[layer], rtol=1e-4, atol=1e-5)
    assert [backbone.stride(layer) for layer in layers] == [2, 4, 8]
    assert backbone.radius("features.6") == 29


def test_unpadded_convolutions_give_the_features_of_the_module_for_a_moved_picture() -> None:
    network, image = traced_network("inception", padding="zeros"), smooth_image(160, 176)
    # Each unpadded operation begins at the first position here, and one position later there.
    for layer, moved in {"first": 1, "second": 1 + 2, "mixed": 1 + 2 + 2, "reduced": 9, "deep": 17}.items():
        whole = plain("inception", normalised(image, network))[layer]
        mine = network(image[:, :, moved:, moved:], {layer})[layer]
        stride = network.backbone.stride(layer)
        rim = -(-network.backbone.radius(layer) // stride)
        assert stride == {"first": 2, "second": 2, "mixed": 4, "reduced": 8, "deep": 16}[layer]
        rows, columns = (min(a, b) - rim for a, b in zip(whole.shape[2:], mine.shape[2:], strict=True))
        assert rows > rim + 1
        inside = slice(None), slice(None), slice(rim, rows), slice(rim, columns)
        assert torch.allclose(mine[inside], whole[inside], rtol=1e-9, atol=1e-12), layer


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", ["replicate", "zeros", "reflect"])
def test_a_window_on_the_grid_has_the_positions_of_the_image(kind: str, padding: Padding) -> None:
    network, image = traced_network(kind, padding=padding), smooth_image(205, 235)
    whole, backbone = network(image, LAYERS[kind]), network.backbone
    deepest, halo = backbone.stride_of(LAYERS[kind]), backbone.halo_of(LAYERS[kind])
    top, bottom = 4 * deepest, 205
    first = max(0, top - halo)
    window = network(image[:, :, first:bottom, : 8 * deepest + halo], LAYERS[kind])
    for layer, feature in window.items():
        stride = backbone.stride(layer)
        assert whole[layer].shape[2:] == (205 // stride, 235 // stride)
        theirs = whole[layer][:, :, top // stride :, : 8 * deepest // stride]
        mine = feature[:, :, (top - first) // stride :, : 8 * deepest // stride]
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_working_in_place_changes_nothing(kind: str) -> None:
    network, image = traced_network(kind), smooth_image(70, 90).requires_grad_()
    careful = copy.deepcopy(network)
    graph = network.backbone.graph
    steps = tuple(replace(step, in_place=False) for step in graph.steps)
    careful.backbone.__dict__["graph"] = Graph(steps=steps, layers=graph.layers)
    assert any(step.in_place for step in network.backbone.graph.steps)
    results = []
    for one in (network, careful):
        features = one(image, LAYERS[kind])
        (gradient,) = torch.autograd.grad(torch.stack([f.square().sum() for f in features.values()]).sum(), image)
        results.append([*features.values(), gradient])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*results, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision(kind: str) -> None:
    network, image = traced_network(kind, padding="zeros").float(), smooth_image(70, 90).float()
    half = network.in_precision(torch.bfloat16)
    assert (network.precision, half.precision, half.mean.dtype) == (torch.float32, torch.bfloat16, torch.float32)
    for layer, feature in half(image, LAYERS[kind]).items():
        expected = network(image, {layer})[layer]
        assert (feature.dtype, feature.shape) == (torch.bfloat16, expected.shape)
        assert F.cosine_similarity(feature.float().flatten(), expected.flatten(), dim=0) > 0.99


def test_only_what_layers_need_is_evaluated_and_the_evaluation_can_be_ended() -> None:
    network, image = traced_network("inception"), smooth_image(64, 64).requires_grad_()
    calls: list[None] = []
    features = network(image, {"second"}, check_stop=lambda: calls.append(None))
    assert len(calls) == 2
    torch.autograd.grad(features["second"].sum(), image)
    assert len(calls) == 4
    assert network(image, set()) == {}
    with pytest.raises(ValueError, match="inception has no layer third"):
        network(image, {"third"})
    with pytest.raises(ValueError, match="too small for deep"):
        network(image[:, :, :15], {"deep"})
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_an_image_that_is_too_small_to_be_reflected_is_refused() -> None:
    network = traced_network("inception", padding="reflect")
    with pytest.raises(InputError, match=r"too small to be reflected .* choose another model\.padding"):
        network(smooth_image(15, 200), {"reduced"})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("padding", ["replicate", "zeros"])
def test_what_is_stored_for_the_gradient_is_about_what_was_estimated(kind: str, padding: Padding) -> None:
    network, found = traced_network(kind, padding=padding), dict[int, int]()
    own = {tensor.untyped_storage().data_ptr() for tensor in network.state_dict().values()}
    kept = []  # or other tensors would take the place

    def pack(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    image = smooth_image(96, 128).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network(image, LAYERS[kind])
    measured = sum(size for place, size in found.items() if place not in own) / (96 * 128)
    stored = network.backbone.stored(LAYERS[kind])
    assert 0.5 < measured / (8 * (stored.values + stored.indices)) < 1.3
    assert stored.largest == max(step.size for step in network.backbone.graph.steps)


# Geometry.


@pytest.fixture
def averaging(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means in place of maxima, which depend on one pixel only."""
    monkeypatch.setattr(TracedNetwork, "_max", lambda self, step, x: self._averaged(step, x))


def check_reach(network: TracedNetwork, layer: str, *, side: int) -> None:
    """Compare the geometry with where the gradient of one position is not 0; weights are positive."""
    (step,) = (one for one in network.backbone.graph.steps if one.name == network.backbone.graph.layers[layer])
    middle, image = side // 2 // step.stride, smooth_image(side, side).requires_grad_()
    feature = network(image, {layer})[layer]
    (gradient,) = torch.autograd.grad(feature[0, :, middle, middle].sum(), image)
    for axis in (0, 1):
        seen = (gradient[0] != 0).any(0).any(1 - axis).nonzero()[:, 0]
        before, after = middle * step.stride - int(seen.min()), int(seen.max()) - (middle + 1) * step.stride + 1
        assert (before, after) == step.reach[axis], layer
    assert network.backbone.radius(layer) == max(*step.reach[0], *step.reach[1])


@pytest.mark.usefixtures("averaging")
@pytest.mark.parametrize("kind", KINDS)
def test_the_reach_is_where_the_gradient_ends(kind: str) -> None:
    network = traced_network(kind, padding="zeros")
    for parameter in network.parameters():
        parameter.abs_()  # so that no rectifier cuts a path off
    network.mean.fill_(0)
    for layer in LAYERS[kind]:
        check_reach(network, layer, side=336)


@pytest.mark.usefixtures("averaging")
@pytest.mark.parametrize("name", TORCHVISION)
def test_the_reach_of_torchvisions_networks_is_where_the_gradient_ends(name: str) -> None:
    backbone = BACKBONES[name]
    assert isinstance(backbone, TorchvisionBackbone)
    traced = trace(torchvision_model(backbone.model), backbone.names, name=name)
    network = TracedNetwork(backbone, traced.operations, padding="zeros").double()
    for parameter in network.parameters():
        parameter.fill_(1 / parameter[0].numel())
    network.mean.fill_(0)
    for layer in (backbone.style_layers[-1], *backbone.content_layers):
        check_reach(network, layer, side=192)


@pytest.mark.parametrize(
    ("layer", "channels", "stride", "radius"),
    [
        ("relu", 64, 2, 3),
        ("layer1.0", 256, 4, 9),
        ("layer2.1", 512, 8, 29),
        ("layer2.2", 512, 8, 37),
        ("layer3.1", 1024, 16, 69),
        ("layer4.2", 2048, 32, 213),
    ],
)
def test_geometry_of_resnet(layer: str, channels: int, stride: int, radius: int) -> None:
    backbone = BACKBONES["resnet50"]
    assert (backbone.channels(layer), backbone.stride(layer), backbone.radius(layer)) == (channels, stride, radius)


@pytest.mark.parametrize("name", TORCHVISION)
def test_default_layers_match_those_of_vgg_in_stride_and_depth(name: str) -> None:
    backbone = BACKBONES[name]
    pairs = zip(
        (*backbone.style_layers, *backbone.content_layers), ("conv2_1", "conv3_1", "conv4_1", "conv5_1", "conv4_2"),
        strict=True,
    )  # fmt: skip
    for own, vgg in pairs:  # neither has a layer of stride 1
        assert backbone.stride(own) == VGG19.stride(vgg)
        assert abs(backbone.radius(own) - VGG19.radius(vgg)) <= VGG19.stride(vgg) + 1


@pytest.mark.parametrize("name", TORCHVISION)
def test_cost_and_names_are_those_of_torchvision(name: str) -> None:
    backbone = BACKBONES[name]
    assert isinstance(backbone, TorchvisionBackbone)
    assert list(backbone.layers) == list(backbone.layer_names)
    theirs = get_model_weights(backbone.model).IMAGENET1K_V1
    assert backbone.weights.url == theirs.url
    assert backbone.weights.file == theirs.url.rpartition("/")[2]
    assert backbone.weights.file.endswith(f"-{backbone.weights.sha256}.pth")
    assert backbone.weights.size / 2**20 == pytest.approx(theirs.meta["_file_size"], abs=0.1)
    size = 299 if name == "inception-v3" else 224
    assert backbone.multiply_adds() * size**2 / 1e9 == pytest.approx(
        theirs.meta["_ops"], rel=0.2
    )  # Inception without padding has fewer positions
    with torch.device("meta"):
        model = get_model(backbone.model, weights=None, **({"init_weights": False} if "inc" in name else {}))
    convolutions = {
        key: part for key, part in model.named_modules() if isinstance(part, nn.Conv2d) and "AuxLogits" not in key
    }
    assert backbone.parameters == sum(part.weight.numel() + part.out_channels for part in convolutions.values())


def test_resnet_is_preprocessed_as_by_torchvision() -> None:
    backbone = BACKBONES["resnet50"]
    preprocessing = get_model_weights("resnet50").IMAGENET1K_V1.transforms()
    assert (list(backbone.mean), list(backbone.std)) == (preprocessing.mean, preprocessing.std)


def test_inception_is_preprocessed_as_by_torchvision() -> None:
    backbone, x = BACKBONES["inception-v3"], torch.rand((1, 3, 4, 4))
    preprocessing = get_model_weights("inception_v3").IMAGENET1K_V1.transforms()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    with torch.device("meta"):
        model = get_model("inception_v3", weights=None, init_weights=False, transform_input=True)
    theirs = model._transform_input((x - mean) / std)  # torchvision sets it with the published weights
    mine = (x - torch.tensor(backbone.mean).view(1, 3, 1, 1)) / torch.tensor(backbone.std).view(1, 3, 1, 1)
    assert torch.allclose(mine, theirs, atol=1e-6)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation", "padding", "before", "after"),
    [
        (3, 1, 1, 1, 1, 1), (3, 1, 1, 0, 1, 1), (7, 2, 1, 3, 3, 2), (3, 2, 1, 1, 1, 0), (3, 2, 1, 0, 1, 0),
        (1, 2, 1, 0, 0, -1), (2, 2, 1, 0, 0, 0), (4, 4, 1, 0, 0, 0), (2, 1, 1, 0, 1, 0), (3, 1, 2, 2, 2, 2),
        (5, 1, 1, 0, 2, 2), (4, 2, 1, 1, 1, 1), (1, 1, 1, 0, 0, 0), (3, 3, 1, 0, 0, 0),
    ],
)  # fmt: skip
def test_spans(kernel: int, stride: int, dilation: int, padding: int, before: int, after: int) -> None:
    span = Span.of(kernel, stride, dilation=dilation, padding=padding)
    assert (span.before, span.after) == (before, after)
    for size in range(stride, 40):
        x = torch.zeros(1, 1, size + span.before + max(0, span.after))
        assert F.conv1d(x, torch.zeros(1, 1, kernel), stride=stride, dilation=dilation).shape[2] >= size // stride


class Overwriting(nn.Module):
    """Activation functions that work in place on what is used again."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.again, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 1), nn.ELU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        first = self.again(F.relu(x, inplace=True)) + x
        return self.act(first) + first  # type: ignore[no-any-return]


def test_what_works_in_place_changes_what_is_used_again() -> None:
    torch.manual_seed(0)
    own, image, layers = Overwriting().eval(), smooth_image(20, 24).float(), ["conv", "again", "add_1"]
    hires_nst.register_network("mine", own, style_layers=layers, content_layers=[])
    network = load_network(BACKBONES["mine"], pooling="max", padding="zeros")
    expected = create_feature_extractor(own, layers, suppress_diff_warning=True).eval()(image)
    for layer, feature in network(image, layers).items():
        torch.testing.assert_close(feature, expected[layer])


# What is refused.


class Squeezed(nn.Module):
    """Sees all of the image at every position."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.pool, self.last = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return x * self.last(self.pool(x))  # type: ignore[no-any-return]


class Uneven(nn.Module):
    """Joins values of different strides."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse, self.after = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.fine(x) + self.coarse(x))  # type: ignore[no-any-return]


class Simple(nn.Sequential):
    """A module in a row."""


@pytest.mark.parametrize(
    ("refused", "layer", "sentence"),
    [
        (Squeezed(), "last", r"cannot be evaluated in tiles: pool \(AdaptiveAvgPool2d\)"),
        (Uneven(), "after", "joins values of different strides or channels, in add"),
        (Simple(nn.Conv2d(3, 4, 3)), "1", "layers of mine cannot be found: node: '1' is not present"),
        (Simple(nn.ReLU()), "0", "has no convolution"),
        (Simple(nn.Conv2d(3, 4, 3, stride=(1, 2))), "0", "different strides along rows and columns"),
        (Simple(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4)), "1", r"_1 \(InstanceNorm2d\)"),
        (Simple(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)), "1", "without running statistics"),
        (Simple(nn.Identity(), nn.Conv2d(3, 4, 3)), "0", "computes nothing for its layer '0'"),
    ],
)
def test_modules_that_cannot_be_tiled_are_refused(refused: nn.Module, layer: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        trace(refused, [layer], name="mine")


def test_layers_before_what_cannot_be_tiled_are_taken_and_the_module_stays_as_it_was() -> None:
    squeezed = Squeezed().train()
    traced = trace(squeezed, ["first"], name="mine")
    assert [step.kind for step in traced.graph.steps] == ["convolution"]
    assert squeezed.training
    assert traced.operations["first"] is not squeezed.first
