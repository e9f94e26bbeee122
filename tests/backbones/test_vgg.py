"""The registry against the networks themselves, and the feature extractor."""

from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
import torchvision
from torch import Tensor, nn

from hires_nst.backbones.description import Pooling
from hires_nst.backbones.network import Padding
from hires_nst.backbones.registry import BACKBONES, VGG19, VGG19_SLIM, VGGS
from hires_nst.backbones.vgg import VGG, pooled
from hires_nst.backbones.vgg_layers import ConvLayer, PoolLayer
from hires_nst.errors import ConfigError, WeightsError
from tests.conftest import TINY, random_canvas, tiny_network

POOLINGS: tuple[Pooling, ...] = ("max", "average", "l2")
PADDINGS: tuple[Padding, ...] = ("replicate", "zeros", "reflect")


def smooth_image(height: int, width: int, seed: int = 0) -> Tensor:
    canvas = random_canvas(height, width, seed)
    return canvas.read(canvas.image, device=torch.device("cpu"), dtype=torch.float64)


# Descriptions.


def test_the_layers_of_vgg19_have_the_names_of_the_papers() -> None:
    names = [f"conv{block}_{i}" for block, count in enumerate([2, 2, 4, 4, 4], 1) for i in range(1, count + 1)]
    assert list(VGG19.layer_names) == names
    assert list(BACKBONES["vgg19-bn"].layer_names) == list(BACKBONES["vgg19-caffe"].layer_names) == names
    assert list(BACKBONES["vgg16"].layer_names) == [name for name in names if name[4] in "12" or name[6] != "4"]
    assert list(BACKBONES["vgg19-slim"].layer_names) == names[: names.index("conv5_1") + 1]


@pytest.mark.parametrize(
    ("layer", "channels", "stride", "radius", "halo"),
    [
        ("conv1_1", 64, 1, 1, 1),
        ("conv1_2", 64, 1, 2, 2),
        ("conv2_1", 128, 2, 4, 4),
        ("conv3_1", 256, 4, 10, 12),
        ("conv4_1", 512, 8, 30, 32),
        ("conv4_2", 512, 8, 38, 40),
        ("conv5_1", 512, 16, 70, 80),
        ("conv5_4", 512, 16, 118, 128),
    ],
)
def test_geometry_of_vgg19(layer: str, channels: int, stride: int, radius: int, halo: int) -> None:
    assert (VGG19.channels(layer), VGG19.stride(layer), VGG19.radius(layer)) == (channels, stride, radius)
    assert VGG19.halo_of([layer]) == halo


def test_geometry_of_several_layers_is_that_of_the_deepest_and_of_none_it_is_nothing() -> None:
    layers = ["conv5_1", "conv1_1", "conv4_2"]
    assert (VGG19.stride_of(layers), VGG19.radius_of(layers), VGG19.halo_of(layers)) == (16, 70, 80)
    assert (VGG19.stride_of([]), VGG19.radius_of([]), VGG19.halo_of([])) == (1, 0, 0)


def test_the_slim_network_has_the_geometry_of_vgg19() -> None:
    slim = VGG19_SLIM
    for layer in slim.layer_names:
        assert (slim.stride(layer), slim.radius(layer)) == (VGG19.stride(layer), VGG19.radius(layer))
        assert slim.channels(layer) < VGG19.channels(layer)
    to_conv5_1 = dataclasses.replace(VGG19, blocks=(*VGG19.blocks[:4], VGG19.blocks[4][:1]))
    assert slim.multiply_adds() < to_conv5_1.multiply_adds() / 11
    assert slim.weights.size < 3e6


def test_an_unknown_layer_is_named_with_the_nearest_known_one() -> None:
    for ask in (VGG19.stride, VGG19.radius, VGG19.channels):
        with pytest.raises(ConfigError, match=r"vgg19 has no layer 'conv4_9'; did you mean 'conv4_"):
            ask("conv4_9")


def test_the_registry_is_read_only() -> None:
    with pytest.raises(TypeError):
        BACKBONES["mine"] = VGG19  # type: ignore[index]
    with pytest.raises(AttributeError):
        VGG19.name = "mine"  # type: ignore[misc]
    assert all(name == backbone.name for name, backbone in BACKBONES.items())


@pytest.mark.parametrize("layer", TINY.layer_names)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_radius_is_where_the_gradient_ends(layer: str, pooling: Pooling) -> None:
    network, side, stride = tiny_network(pooling=pooling), 160, TINY.stride(layer)
    for parameter in network.parameters():
        parameter.abs_()  # so that no rectifier cuts a path off
    middle, reached = side // stride // 2, torch.zeros(side, dtype=torch.bool)
    for seed in range(4):  # a maximum takes one of four pixels only
        image = smooth_image(side, side, seed).requires_grad_()
        if pooling == "max":  # large activations where they are needed, in the corners of the receptive field
            image = (image.detach() + (seed + 1) * torch.rand_like(image)).requires_grad_()
        feature = network(image, {layer})[layer]
        (gradient,) = torch.autograd.grad(feature[0, :, middle, middle].sum(), image)
        reached |= (gradient[0] != 0).any(0).any(0)
    rows = reached.nonzero()[:, 0]
    first, last = int(rows.min()), int(rows.max())
    radius, cell = TINY.radius(layer), middle * stride
    assert cell - radius <= first
    assert last < cell + stride + radius
    if pooling != "max":
        assert (first, last) == (cell - radius, cell + stride + radius - 1)


# Against torchvision.


@pytest.mark.parametrize("name", ["vgg19", "vgg16", "vgg19-bn", "vgg16-bn"])
def test_layers_and_widths_are_those_of_torchvision(name: str) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, name.replace("-", "_"))(weights=None).features
    steps = [module for module in theirs if isinstance(module, (nn.Conv2d, nn.MaxPool2d))][:-1]
    ours = VGGS[name].steps
    assert len(steps) == len(ours)
    for step, module in zip(ours, steps, strict=True):
        if isinstance(step, ConvLayer):
            assert isinstance(module, nn.Conv2d)
            assert (step.in_channels, step.out_channels) == (module.in_channels, module.out_channels)
            assert (module.kernel_size, module.stride, module.padding) == ((3, 3), (1, 1), (1, 1))
        else:
            assert isinstance(step, PoolLayer)
            assert isinstance(module, nn.MaxPool2d)
            assert (module.kernel_size, module.stride) == (2, 2)


@pytest.mark.parametrize("name", ["vgg19", "vgg16", "vgg19-bn", "vgg16-bn"])
def test_addresses_digests_and_preprocessing_are_those_of_torchvision(name: str) -> None:
    backbone, theirs = BACKBONES[name], torchvision.models.get_model_weights(name.replace("-", "_")).IMAGENET1K_V1
    assert backbone.weights.url == theirs.url
    assert backbone.weights.url.rpartition("/")[2] == backbone.weights.file
    assert backbone.weights.file == f"{name.replace('-', '_')}-{backbone.weights.sha256}.pth"
    assert backbone.weights.size / 2**20 == pytest.approx(theirs.meta["_file_size"], abs=0.1)
    preprocessing = theirs.transforms()
    assert (list(backbone.mean), list(backbone.std)) == (preprocessing.mean, preprocessing.std)


def test_features_are_those_of_the_same_network_written_down_plainly() -> None:
    network = tiny_network(padding="zeros")
    image = smooth_image(45, 70)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (TINY.mean, TINY.std))
    x, expected = (image - mean) / std, {}
    for block, widths in enumerate(TINY.blocks, start=1):
        if block > 1:
            x = nn.MaxPool2d(2)(x)
        for index in range(1, len(widths) + 1):
            conv = network.operations[f"conv{block}_{index}"]
            x = nn.functional.conv2d(x, conv.get_parameter("weight"), conv.get_parameter("bias"), padding=1).relu()
            expected[f"conv{block}_{index}"] = x
    features = network(image, TINY.layer_names)
    assert list(features) == list(TINY.layer_names)
    for layer, feature in features.items():
        assert torch.allclose(feature, expected[layer], rtol=1e-5, atol=1e-6)
        assert feature.shape[2:] == (45 // TINY.stride(layer), 70 // TINY.stride(layer))


# Pooling, padding and what is refused.


@pytest.mark.parametrize("pooling", ["average", "l2"])
def test_other_poolings_keep_the_scale_of_max_pooling(pooling: Pooling) -> None:
    # On sparse positive activations, as rectifiers give them; the factors are measured on VGG-19.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn((1, 64, 64, 64), generator=generator, dtype=torch.float64)
    smooth = nn.functional.avg_pool2d(x, 3, stride=1).relu()
    scales = {}
    for name in ("max", pooling):
        small = pooled(smooth, name)
        assert small.shape[2:] == (31, 31)
        scales[name] = float(small.square().mean().sqrt())
    assert 0.5 < scales[pooling] / scales["max"] < 2


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="no pooling 'auto'"):  # a setting; the network needs to know which one
        pooled(torch.zeros((1, 2, 4, 4)), "auto")  # type: ignore[arg-type]


def test_the_gradient_of_l2_pooling_is_finite_where_everything_is_zero() -> None:
    x = torch.zeros((1, 2, 4, 4), dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(pooled(x, "l2").sum(), x)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("padding", PADDINGS)
def test_padding_changes_the_rim_only(padding: Padding) -> None:
    image, layer = smooth_image(96, 96), "conv2_1"
    other = tiny_network(padding="zeros" if padding != "zeros" else "replicate")(image, {layer})[layer]
    mine = tiny_network(padding=padding)(image, {layer})[layer]
    rim = -(-TINY.radius(layer) // TINY.stride(layer))
    assert torch.equal(mine[:, :, rim:-rim, rim:-rim], other[:, :, rim:-rim, rim:-rim])
    assert not torch.allclose(mine, other)


def test_replicate_padding_sees_no_edge_in_an_even_picture() -> None:
    even = torch.full((1, 3, 32, 32), 0.7, dtype=torch.float64)
    paddings: dict[Padding, bool] = {"replicate": True, "reflect": True, "zeros": False}
    for padding, flat in paddings.items():
        feature = tiny_network(padding=padding)(even, {"conv2_1"})["conv2_1"]
        assert torch.allclose(feature, feature[:, :, 5:6, 5:6].expand_as(feature)) is flat


@pytest.mark.parametrize(("pooling", "padding"), list(itertools.product(POOLINGS, PADDINGS)))
def test_every_kind_has_a_gradient(pooling: Pooling, padding: Padding) -> None:
    image = smooth_image(48, 48).requires_grad_()
    features = tiny_network(pooling=pooling, padding=padding)(image, {"conv4_1", "conv1_1"})
    (gradient,) = torch.autograd.grad(sum(f.square().mean() for f in features.values()), image)
    assert gradient.isfinite().all()
    assert (gradient != 0).any(1).float().mean() > 0.9


def test_an_image_below_the_deepest_stride_is_refused() -> None:
    network = tiny_network()
    with pytest.raises(ValueError, match="too small for conv5_1"):
        network(smooth_image(15, 40), {"conv5_1", "conv1_1"})
    assert network(smooth_image(16, 40), {"conv5_1"})["conv5_1"].shape == (1, 4, 1, 2)
    assert network(smooth_image(1, 1), {"conv1_1"})["conv1_1"].shape == (1, 4, 1, 1)
    with pytest.raises(ValueError, match="tiny has no layer conv6_1"):
        network(smooth_image(16, 16), {"conv6_1"})


def test_layers_beyond_the_deepest_one_are_not_evaluated_and_the_weights_are_frozen() -> None:
    network = tiny_network()
    del network.operations["conv4_1"]
    assert set(network(smooth_image(16, 16), {"conv3_1", "conv1_2"})) == {"conv3_1", "conv1_2"}
    assert network(smooth_image(16, 16), set()) == {}
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_an_evaluation_can_be_ended_before_each_layer_forwards_and_backwards() -> None:
    network, image = tiny_network(), smooth_image(32, 32).requires_grad_()
    calls: list[int] = []

    def between() -> None:
        if len(calls) == last:
            raise KeyboardInterrupt
        calls.append(len(calls))

    def evaluate() -> torch.Tensor:
        calls.clear()
        features = network(image, TINY.layer_names, check_stop=between)
        (gradient,) = torch.autograd.grad(torch.stack([f.sum() for f in features.values()]).sum(), image)
        return gradient

    last = -1
    whole, layers = evaluate(), len(TINY.convolutions)
    assert len(calls) == 2 * layers
    for last in range(2 * layers):
        with pytest.raises(KeyboardInterrupt):
            evaluate()
        assert len(calls) == last
    last = -1
    assert torch.equal(evaluate(), whole)


def test_weights_of_another_shape_are_refused() -> None:
    weights = {f"{conv.name}.{part}": torch.zeros(1) for conv in TINY.convolutions for part in ("weight", "bias")}
    for given in (weights, {}):
        with pytest.raises(WeightsError, match="lack conv1_1, or have it in another shape"):
            VGG(TINY, given, pooling="max")


# Type and layout.


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("padding", PADDINGS)
def test_activations_keep_their_type_and_layout(pooling: Pooling, padding: Padding) -> None:
    network = tiny_network(pooling=pooling, padding=padding, dtype=torch.float32)
    half = network.in_precision(torch.bfloat16)
    image = torch.rand((1, 3, 32, 48), generator=torch.Generator().manual_seed(0))
    exact, found = (one(image, {"conv1_2", "conv3_1"}) for one in (network, half))
    for layer, feature in found.items():
        assert feature.dtype == half.precision == torch.bfloat16
        assert feature.is_contiguous(memory_format=torch.channels_last)
        assert float((feature - exact[layer]).abs().max()) < 0.05 * float(exact[layer].abs().max())
    assert network.precision == torch.float32
    assert network.in_precision(torch.float32) is network


def test_another_padding_shares_the_weights() -> None:
    network = tiny_network(padding="replicate")
    other = network.padded("zeros")
    assert (network.padding, other.padding) == ("replicate", "zeros")
    assert all(a is b for a, b in zip(network.parameters(), other.parameters(), strict=True))
    image = torch.rand((1, 3, 32, 32), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(
        other(image, {"conv1_1"})["conv1_1"], tiny_network(padding="zeros")(image, {"conv1_1"})["conv1_1"]
    )
