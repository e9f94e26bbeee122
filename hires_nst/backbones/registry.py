"""The networks that the program supports, as frozen descriptions, and those that were registered from Python.

A description is data: the layers and what follows from them (strides, receptive fields), the preprocessing, where the
weights come from, and under which licence. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from hires_nst.backbones.description import Backbone, Weights
from hires_nst.backbones.traced_layers import OwnBackbone, TorchvisionBackbone
from hires_nst.backbones.vgg_layers import VGGBackbone
from hires_nst.errors import ConfigError, suggestion

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

SLIM_BLOCKS = ((16, 16), (48, 48), (96, 64, 64, 64), (128, 128, 128, 128), (128,))


def _published(file: str, *, sha256: str, size: int) -> Weights:
    """A file of torchvision's."""
    url = f"https://download.pytorch.org/models/{file}"
    return Weights(provider="torchvision", file=file, sha256=sha256, url=url, size=size)


def _vgg_blocks(deep: int) -> tuple[tuple[int, ...], ...]:
    """Those of a VGG of whose blocks the last three have `deep` convolutions."""
    return ((64, 64), (128, 128), (256,) * deep, (512,) * deep, (512,) * deep)


def _torchvision_vgg(number: int, deep: int, *, sha256: str, size: int, title: str, batch_norm: bool) -> VGGBackbone:
    """torchvision's VGG-`number`."""
    model = f"vgg{number}_bn" if batch_norm else f"vgg{number}"
    return VGGBackbone(
        name=model.replace("_", "-"),
        blocks=_vgg_blocks(deep),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        description=f"{title}, trained on ImageNet by torchvision",
        licence="BSD-3-Clause",
        source=f"torchvision {model.upper()}_Weights.IMAGENET1K_V1; Simonyan and Zisserman 2014",
        weights=_published(f"{model}-{sha256}.pth", sha256=sha256, size=size),
        batch_norm=batch_norm,
    )


VGG19_SLIM = VGGBackbone(
    name="vgg19-slim",
    blocks=SLIM_BLOCKS,
    mean=(0.45, 0.45, 0.45),
    std=(0.225, 0.225, 0.225),
    description="bundled: VGG-19 up to conv5_1 with about a quarter of the channels, distilled by this project",
    licence="MIT",
    source="hires-nst, tools/train_slim.py; see the model card beside the file",
    weights=Weights(
        provider="bundled",
        file="vgg19-slim.safetensors",
        sha256="bad3ad32cc6ef384b42e75fe247a517c2acf7711af81739a9b41a4d3589d0af7",
        url="",
        size=1_733_088,
    ),
    pooling="average",
    content_scale=2.0,
    looked_at=True,
)

VGG19 = _torchvision_vgg(
    19, 4, sha256="dcbb9e9d", size=574_673_361, title="VGG-19, the papers' network", batch_norm=False
)

_CAFFE_MEAN = (123.68, 116.779, 103.939)

_KNOWN: tuple[Backbone, ...] = (
    VGG19_SLIM,
    VGG19,
    _torchvision_vgg(16, 3, sha256="397923af", size=553_433_881, title="VGG-16", batch_norm=False),
    VGGBackbone(
        name="vgg19-caffe",
        blocks=_vgg_blocks(4),
        mean=(_CAFFE_MEAN[0] / 255, _CAFFE_MEAN[1] / 255, _CAFFE_MEAN[2] / 255),
        std=(1 / 255, 1 / 255, 1 / 255),
        description="VGG-19 with the weights of the papers, its authors' own; to be imported from vgg19-d01eb7cb.pth "
        "(J. Johnson) or vgg_conv.pth (Gatys et al., normalised)",
        licence="CC BY 4.0",
        source="Simonyan and Zisserman 2014, converted from Caffe; Gatys, Ecker and Bethge 2016",
        weights=Weights(provider="file", file="vgg19-caffe.pth", sha256="", url="", size=0),
        channel_order="bgr",
    ),
    _torchvision_vgg(19, 4, sha256="c79401a0", size=574_769_405, title="VGG-19 with batch norm", batch_norm=True),
    _torchvision_vgg(16, 3, sha256="6c64b313", size=553_507_836, title="VGG-16 with batch norm", batch_norm=True),
    TorchvisionBackbone(
        name="resnet50",
        model="resnet50",
        names=(
            "relu",
            *(f"layer{stage}.{block}" for stage, blocks in enumerate((3, 4, 6, 3), start=1) for block in range(blocks)),
        ),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        description="ResNet-50, trained on ImageNet by torchvision",
        licence="BSD-3-Clause",
        source="torchvision ResNet50_Weights.IMAGENET1K_V1; He et al. 2016",
        weights=_published("resnet50-0676ba61.pth", sha256="0676ba61", size=102_530_333),
        style_layers=("relu", "layer1.0", "layer2.1", "layer3.1"),
        content_layers=("layer2.2",),
    ),
    TorchvisionBackbone(
        name="inception-v3",
        model="inception_v3",
        names=(
            *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"),
            *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
            *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
        ),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        description="Inception-v3, trained on ImageNet by Google, converted by torchvision",
        licence="BSD-3-Clause",
        source="torchvision Inception_V3_Weights.IMAGENET1K_V1; Szegedy et al. 2016",
        weights=_published("inception_v3_google-0cc3c7bd.pth", sha256="0cc3c7bd", size=108_949_747),
        style_layers=("Conv2d_2a_3x3", "Conv2d_4a_3x3", "Mixed_5b", "Mixed_6a"),
        content_layers=("Mixed_5c",),
    ),
)

_networks = {backbone.name: backbone for backbone in _KNOWN}

BACKBONES: Mapping[str, Backbone] = MappingProxyType(_networks)
"""Every network by name; read-only."""


VGGS: Mapping[str, VGGBackbone] = MappingProxyType({b.name: b for b in _KNOWN if isinstance(b, VGGBackbone)})
"""The VGG networks among them, with all that only these have."""


def register(backbone: OwnBackbone) -> None:
    """Add a network of the user's to `BACKBONES`, in place of another one of that name.

    Raises:
        ConfigError: the name is that of a network of the program.
    """
    if not isinstance(_networks.get(backbone.name, backbone), OwnBackbone):
        raise ConfigError(f"{backbone.name} is the name of a network of the program; give yours another name")
    _networks[backbone.name] = backbone


def find_backbone(name: str) -> Backbone:
    """The network of that name.

    Raises:
        ConfigError: there is none.
    """
    if name not in BACKBONES:
        raise ConfigError(unknown_network(name))
    return BACKBONES[name]


def unknown_network(name: str) -> str:
    """What is wrong with the name of a network that there is not."""
    near = suggestion(name, BACKBONES)
    if not near:
        near = f"; known are {', '.join(BACKBONES)}; one of your own has to be registered in this process first"
    return f"there is no network {name!r}{near}"
