from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from hires_nst.backbones import download, tracing, weight_files, weights
from hires_nst.backbones.description import Weights
from hires_nst.backbones.registry import BACKBONES, VGG19, VGG19_SLIM, VGGS
from hires_nst.backbones.traced_layers import TorchvisionBackbone
from hires_nst.backbones.vgg_layers import VGGBackbone
from hires_nst.errors import ResourceError, WeightsError
from hires_nst.events import DownloadProgress, Event, Notice
from tests.backbones.networks import module

TINY_BLOCKS = ((2, 3), (4,))


def state(blocks: tuple[tuple[int, ...], ...] = TINY_BLOCKS) -> dict[str, Tensor]:
    """Weights with the papers' names."""
    generator = torch.Generator().manual_seed(0)
    result, before = {}, 3
    for block, widths in enumerate(blocks, start=1):
        for position, width in enumerate(widths, start=1):
            result[f"conv{block}_{position}.weight"] = torch.randn(width, before, 3, 3, generator=generator)
            result[f"conv{block}_{position}.bias"] = torch.randn(width, generator=generator)
            before = width
    return result


def as_torchvision(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as torchvision names them, with a classifier."""
    index = {"conv1_1": 0, "conv1_2": 2, "conv2_1": 5}
    renamed = {f"features.{index[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in own.items()}
    return {**renamed, "classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}


def published(*, legacy: bool = False) -> bytes:
    """The bytes of the tiny network's published file."""
    buffer = io.BytesIO()
    torch.save(as_torchvision(state()), buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def tiny_backbone(content: bytes, url: str = "http://127.0.0.1:9/tiny.pth") -> VGGBackbone:
    """A network of three convolutions whose published file is `content`."""
    digest = hashlib.sha256(content).hexdigest()[:8]
    source = Weights(provider="torchvision", file="tiny.pth", sha256=digest, url=url, size=len(content))
    return dataclasses.replace(VGG19, name="tiny", blocks=TINY_BLOCKS, weights=source)


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


class Server(BaseHTTPRequestHandler):
    """Serves `content`; under /short less than it promises; nothing else."""

    content: ClassVar[bytes] = b""
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.requests.append(self.path)
        if self.path not in ("/tiny.pth", "/short"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content[: 100 if self.path == "/short" else None])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[str]:
    """The address of a server of the tiny network's file."""
    Server.content, Server.requests = published(), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


# Names.


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "vgg16-bn", "vgg19-bn"])
def test_names_are_those_of_torchvision(name: str) -> None:
    from torchvision.models import get_model

    with torch.device("meta"):
        features = get_model(name.replace("-", "_"), weights=None).features.state_dict()
    theirs = {f"features.{key}": value for key, value in features.items() if not key.endswith("num_batches_tracked")}
    names = weight_files.torchvision_names(VGGS[name])
    assert list(names) == list(theirs)
    shapes: dict[str, tuple[int, ...]] = {}
    for conv in VGGS[name].convolutions:
        shapes[f"{conv.name}.weight"] = (conv.out_channels, conv.in_channels, 3, 3)
        shapes[f"{conv.name}.bias"] = (conv.out_channels,)
        for part in ("weight", "bias", "running_mean", "running_var") if VGGS[name].batch_norm else ():
            shapes[f"{conv.name.replace('conv', 'norm')}.{part}"] = (conv.out_channels,)
    assert {names[key]: tuple(value.shape) for key, value in theirs.items()} == shapes


def test_names_in_plain_sight() -> None:
    names = weight_files.torchvision_names(VGG19)
    assert names["features.0.weight"] == "conv1_1.weight"
    assert names["features.5.bias"] == "conv2_1.bias"
    assert names["features.28.weight"] == "conv5_1.weight"
    assert names["features.34.bias"] == "conv5_4.bias"


# Reading.


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("theirs", [False, True])
def test_pytorch_files(tmp_path: Path, legacy: bool, theirs: bool) -> None:
    file = tmp_path / "w.pth"
    torch.save(as_torchvision(state()) if theirs else state(), file, _use_new_zipfile_serialization=not legacy)
    assert same(weights.load_weights(tiny_backbone(b""), file=file), state())


def test_safetensors_files_become_float32(tmp_path: Path) -> None:
    save_file({key: value.half() for key, value in state().items()}, tmp_path / "w.safetensors")
    loaded = weights.load_weights(tiny_backbone(b""), file=tmp_path / "w.safetensors")
    assert {value.dtype for value in loaded.values()} == {torch.float32}
    assert same(loaded, {key: value.half().float() for key, value in state().items()})


def changed(**changes: Tensor | None) -> dict[str, Tensor]:
    result = state()
    for key, value in changes.items():
        name = key.replace("__", ".")
        if value is None:
            del result[name]
        else:
            result[name] = value
    return result


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (changed(conv2_1__bias=None), "lacks conv2_1.bias; give one of tiny, or leave model.weights out"),
        (changed(conv2_1__weight=torch.zeros(4, 3, 3, 3)), "conv2_1.weight are all the same; get it again"),
        (changed(conv1_1__weight=torch.full((2, 3, 3, 3), 0.5)), "conv1_1.weight are all the same; get it again"),
        (changed(conv1_2__weight=torch.zeros(3, 2, 1, 1)), "conv1_2.weight is float32 of shape"),
        (changed(conv1_1__bias=torch.zeros(2, dtype=torch.int64)), "conv1_1.bias is int64"),
        (changed(conv1_1__bias=torch.tensor([0.0, float("nan")])), "NaN or infinite"),
        (changed(conv2_2__bias=torch.zeros(4)), "has no conv2_2.bias"),
        ({"features.0.weight": torch.zeros(2, 3, 3, 3)}, "lacks conv1_1.bias"),
        ({}, "lacks conv1_1.weight"),
        ([torch.zeros(2)], "holds a list instead of weights; save the network's state dictionary"),
        ({"conv1_1.weight": 3}, "lacks conv1_1.weight"),
    ],
)
def test_other_networks_files_are_refused(tmp_path: Path, content: object, sentence: str) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=sentence):
        weights.load_weights(tiny_backbone(b""), file=tmp_path / "w.pth")


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.bin"])
@pytest.mark.parametrize("content", [b"", b"no weights at all", published()[:-200], published(legacy=True)[:300]])
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        weights.load_weights(tiny_backbone(b""), file=tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("name", ["photo", "w.pth", "w.safetensors"])
def test_a_picture_is_no_file_of_weights(tmp_path: Path, kind: str, name: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / name, kind)
    with pytest.raises(WeightsError, match=r"is not a file of weights; give a \.safetensors or \.pth file"):
        weights.load_weights(tiny_backbone(b""), file=tmp_path / name)


def test_weights_of_another_network_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = dataclasses.replace(tiny_backbone(b""), name="other", blocks=((3, 3), (4,)))
    monkeypatch.setattr(weights, "BACKBONES", {"other": other})
    save_file(state(other.blocks), tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="holds the weights of other, not of tiny; add --model other, or leave"):
        weights.load_weights(tiny_backbone(b""), file=tmp_path / "w.safetensors")


def test_weights_that_are_not_the_published_ones_are_told(tmp_path: Path) -> None:
    (tmp_path / "own.pth").write_bytes(published())
    (tmp_path / "foreign.pth").write_bytes(published(legacy=True))
    said: list[Event] = []
    weights.load_weights(tiny_backbone(published()), file=tmp_path / "own.pth", on_event=said.append)
    assert not said
    weights.load_weights(tiny_backbone(published()), file=tmp_path / "foreign.pth", on_event=said.append)
    ((notice),) = said
    assert isinstance(notice, Notice) and "foreign.pth is not the published file of tiny" in notice.message


def test_missing_files_are_refused(tmp_path: Path) -> None:
    for file in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(WeightsError, match="there is no weight file"):
            weights.load_weights(tiny_backbone(b""), file=file)


class Evil:
    """A pickle that makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    torch.save(
        {**state(), "x": Evil(tmp_path / "gotcha")}, tmp_path / "w.pth", _use_new_zipfile_serialization=not legacy
    )
    for call in (
        lambda: weights.load_weights(tiny_backbone(b""), file=tmp_path / "w.pth"),
        lambda: weights.identify(tmp_path / "w.pth"),
    ):
        with pytest.raises(WeightsError, match="more than weights"):
            call()
    assert not (tmp_path / "gotcha").exists()


# The bundled network.


def test_the_bundled_network_is_there_and_runs() -> None:
    backbone = VGG19_SLIM
    assert weights.verify(backbone).state == "ok"
    network = weights.load_network(backbone, pooling="max", padding="replicate")
    features = network(torch.rand(1, 3, 16, 16), ["conv1_1", "conv5_1"])
    assert {name: tuple(value.shape) for name, value in features.items()} == {
        "conv1_1": (1, 16, 16, 16),
        "conv5_1": (1, 128, 1, 1),
    }


def test_a_damaged_bundled_network_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = dataclasses.replace(VGG19_SLIM.weights, sha256="0" * 64)
    backbone = dataclasses.replace(VGG19_SLIM, weights=source)
    with pytest.raises(WeightsError, match=r"is damaged.*install hires-nst again"):
        weights.load_weights(backbone)
    monkeypatch.setattr(weights, "bundled_file", lambda backbone: tmp_path / "none")
    with pytest.raises(WeightsError, match="install hires-nst again"):
        weights.load_weights(VGG19_SLIM)


def test_a_bundled_network_is_neither_downloaded_nor_imported() -> None:
    backbone = VGG19_SLIM
    with pytest.raises(WeightsError, match="nothing to download"):
        weights.fetch(backbone)
    with pytest.raises(WeightsError, match="nothing to import"):
        weights.import_file(backbone, weights.bundled_file(backbone))


# Downloads.


def test_a_download_happens_once(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CHUNK", 1000)
    backbone = tiny_backbone(Server.content, f"{server}/tiny.pth")
    assert weights.verify(backbone).state == "missing"
    heard: list[Event] = []
    assert same(weights.load_weights(backbone, on_event=heard.append), state())
    assert same(weights.load_weights(backbone), state())
    assert Server.requests == ["/tiny.pth"]
    assert weights.cache_file(backbone) == home / "hub" / "checkpoints" / "tiny.pth"
    assert weights.verify(backbone).state == "ok"
    assert [event.done for event in heard if isinstance(event, DownloadProgress)] == [
        *range(0, len(Server.content), 1000),
        len(Server.content),
    ]
    assert heard[-1] == DownloadProgress("tiny.pth", len(Server.content), len(Server.content))


def files(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


def test_a_wrong_digest_leaves_nothing_behind(server: str, home: Path) -> None:
    backbone = tiny_backbone(b"something else", f"{server}/tiny.pth")
    with pytest.raises(WeightsError, match="sent another file than the published one"):
        weights.fetch(backbone)
    assert files(home) == []


@pytest.mark.parametrize("path", ["/none", "/short"])
def test_a_failed_download_names_the_ways_on(server: str, home: Path, path: str) -> None:
    with pytest.raises(WeightsError) as caught:
        weights.load_weights(tiny_backbone(Server.content, server + path))
    sentence = str(caught.value)
    assert caught.value.exit_code == 5
    assert ("Not Found" if path == "/none" else "lost after 100 of") in sentence
    for way in ("--model vgg19-slim", "hires-nst models import FILE", "TORCH_HOME", "hub/checkpoints/tiny.pth"):
        assert way in sentence
    assert files(home) == []


def test_nobody_answers() -> None:
    with pytest.raises(WeightsError, match="could not be downloaded"):
        weights.fetch(tiny_backbone(b"x"))


def test_an_interrupted_download_leaves_nothing_behind(server: str, home: Path) -> None:
    def interrupt(event: Event) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        weights.fetch(tiny_backbone(Server.content, f"{server}/tiny.pth"), on_event=interrupt)
    assert files(home) == []


def test_a_cache_that_cannot_be_written(server: str, home: Path) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(WeightsError, match="set TORCH_HOME"):
        weights.fetch(tiny_backbone(Server.content, f"{server}/tiny.pth"))


def test_a_full_disk(server: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="no space left"):
        weights.fetch(tiny_backbone(Server.content, f"{server}/tiny.pth"))
    assert files(home) == []


# Imports.


def test_import(tmp_path: Path, home: Path) -> None:
    backbone = tiny_backbone(published())
    file = tmp_path / "download (1).pth"
    file.write_bytes(published())
    assert weights.identify(file, networks={"tiny": backbone}) is backbone
    assert weights.import_file(backbone, file) == home / "hub" / "checkpoints" / "tiny.pth"
    assert same(weights.load_weights(backbone), state())
    assert weights.import_file(backbone, weights.cache_file(backbone)).read_bytes() == published()


def test_import_of_another_file(tmp_path: Path, home: Path) -> None:
    backbone = tiny_backbone(published())
    torch.save({key: value + 1 for key, value in state().items()}, tmp_path / "w.pth")
    assert weights.identify(tmp_path / "w.pth", networks={"tiny": backbone}) is backbone
    with pytest.raises(WeightsError, match=r"is not the published file of tiny.*model\.weights="):
        weights.import_file(backbone, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot read the weight file"):
        weights.import_file(backbone, tmp_path / "none.pth")
    assert files(home) == []


def test_identify(tmp_path: Path) -> None:
    assert weights.identify(weights.bundled_file(VGG19_SLIM)).name == "vgg19-slim"
    torch.save(state(), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="does not contain the weights of a known network"):
        weights.identify(tmp_path / "w.pth")


def test_damage_is_found(home: Path) -> None:
    backbone = tiny_backbone(published())
    cached = weights.cache_file(backbone)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(published() + b"x")
    check = weights.verify(backbone)
    assert (check.name, check.state) == ("tiny", "damaged")
    assert "hires-nst models fetch tiny" in check.message


def test_an_empty_digest_means_not_checked_yet(home: Path) -> None:
    backbone = tiny_backbone(published())
    backbone = dataclasses.replace(backbone, weights=dataclasses.replace(backbone.weights, sha256=""))
    cached = weights.cache_file(backbone)
    cached.parent.mkdir(parents=True)
    cached.write_bytes(published())
    assert weights.verify(backbone).state == "ok"


# Batch norm, other channel orders, and networks that are not VGGs.


def with_norms() -> nn.Sequential:
    """torchvision's layout of the tiny network with batch norms that do something."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    before = 3
    for block, widths in enumerate(TINY_BLOCKS):
        layers += [nn.MaxPool2d(2)] if block else []
        for width in widths:
            norm = nn.BatchNorm2d(width)
            for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.5, 1.5)
            layers += [nn.Conv2d(before, width, 3, padding=1), norm, nn.ReLU()]
            before = width
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize("counters", [False, True])
def test_batch_norms_are_folded_into_the_convolutions(tmp_path: Path, counters: bool) -> None:
    theirs, image = with_norms(), torch.rand(1, 3, 12, 16)
    stored = {f"features.{key}": value for key, value in theirs.state_dict().items()}
    if not counters:  # files from before these were there
        stored = {key: value for key, value in stored.items() if not key.endswith("num_batches_tracked")}
    torch.save({**stored, "classifier.0.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    backbone = dataclasses.replace(tiny_backbone(b""), batch_norm=True)
    network = weights.load_network(backbone, pooling="max", padding="zeros", file=tmp_path / "w.pth")
    assert set(network.operations) == {"conv1_1", "conv1_2", "conv2_1"}
    preprocessed = (image - network.mean) / network.std
    torch.testing.assert_close(network(image, {"conv2_1"})["conv2_1"], theirs(preprocessed), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(network(image, {"conv1_2"})["conv1_2"], theirs[:6](preprocessed), rtol=1e-4, atol=1e-5)
    with pytest.raises(WeightsError, match=r"lacks norm1_1\.weight"):
        torch.save(as_torchvision(state()), tmp_path / "plain.pth")
        weights.load_weights(backbone, file=tmp_path / "plain.pth")


def imported_backbone() -> VGGBackbone:
    """A network whose file is imported, for images in BGR."""
    source = dataclasses.replace(BACKBONES["vgg19-caffe"].weights, file="tiny-caffe.pth")
    return dataclasses.replace(tiny_backbone(b""), name="caffe", channel_order="bgr", weights=source)


def test_weights_for_bgr_are_turned_to_rgb() -> None:
    mine = weight_files.checked_weights(imported_backbone(), state(), file=Path("w.pth"))
    for red, blue in ((0, 2), (1, 1), (2, 0)):
        assert torch.equal(mine["conv1_1.weight"][:, red], state()["conv1_1.weight"][:, blue])
    assert same({**mine, "conv1_1.weight": state()["conv1_1.weight"]}, state())


def test_import_of_a_file_without_a_published_checksum(tmp_path: Path, home: Path) -> None:
    backbone, published_one = imported_backbone(), tiny_backbone(published())
    networks = {"tiny": published_one, "caffe": backbone}
    torch.save(state(), tmp_path / "vgg_conv.pth")
    tensors = {key: value for key, value in as_torchvision(state()).items() if not key.startswith("classifier")}
    torch.save({**tensors, "classifier.1.weight": torch.zeros(2, 2)}, tmp_path / "vgg19-d01eb7cb.pth")
    (tmp_path / "torchvision.pth").write_bytes(published())
    assert weights.verify(backbone).state == "missing"
    assert "run `hires-nst models import FILE --name caffe`" in weights.verify(backbone).message
    for name in ("vgg_conv.pth", "vgg19-d01eb7cb.pth"):
        assert weights.identify(tmp_path / name, networks=networks) is backbone
        assert weights.import_file(backbone, tmp_path / name) == home / "hub" / "checkpoints" / "tiny-caffe.pth"
        assert same(weights.load_weights(backbone), weight_files.checked_weights(backbone, state(), file=tmp_path))
    assert weights.verify(backbone).message.startswith("caffe has no published checksum")
    assert weights.identify(tmp_path / "torchvision.pth", networks=networks) is published_one
    torch.save(tensors, tmp_path / "features.pth")
    with pytest.raises(WeightsError, match="may be a file of tiny or caffe; say of which with --name"):
        weights.identify(tmp_path / "features.pth", networks=networks)
    with pytest.raises(WeightsError, match="its classifier has torchvision's names, so it is for images in RGB"):
        weights.import_file(backbone, tmp_path / "torchvision.pth")
    with pytest.raises(WeightsError, match=r"cannot be downloaded by the program; get one of the files"):
        weights.fetch(backbone)


def test_weights_of_the_papers_give_the_activations_that_they_give_elsewhere(tmp_path: Path) -> None:
    # The first eight convolutions of the published weights, for RGB, in the layout of a file for BGR.
    file = Path(__file__).parents[3] / "shared" / "teachers" / "vgg19_caffe_conv1_to_conv3.safetensors"
    if not file.is_file():
        pytest.skip(f"needs {file}")
    backbone = VGGS["vgg19-caffe"]
    backbone = dataclasses.replace(backbone, blocks=backbone.blocks[:3])
    theirs = load_file(file)
    torch.save({**theirs, "features.0.weight": theirs["features.0.weight"].flip(1)}, tmp_path / "w.pth")
    network = weights.load_network(backbone, pooling="max", padding="zeros", file=tmp_path / "w.pth")
    image = torch.rand((1, 3, 24, 32), generator=torch.Generator().manual_seed(0))
    x = 255 * image - torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
    for index, name in zip((0, 2, 5, 7, 10, 12, 14, 16), backbone.layer_names, strict=True):
        x = F.conv2d(x, theirs[f"features.{index}.weight"], theirs[f"features.{index}.bias"], padding=1).relu()
        torch.testing.assert_close(network(image, {name})[name], x, rtol=1e-3, atol=1e-2)
        x = F.max_pool2d(x, 2) if name in ("conv1_2", "conv2_2") else x


@pytest.fixture
def small_resnet(monkeypatch: pytest.MonkeyPatch) -> Iterator[TorchvisionBackbone]:
    """ResNet-50 with fewer blocks and channels, published as `small.pth`."""
    monkeypatch.setattr(tracing, "torchvision_model", lambda model: module("resnet").float())
    weight_files._state_shapes.cache_clear()
    known = BACKBONES["resnet50"]
    assert isinstance(known, TorchvisionBackbone)
    source = dataclasses.replace(known.weights, file="small.pth", sha256="")
    yield dataclasses.replace(known, names=("relu", "layer1.0", "layer2.1"), weights=source)
    weight_files._state_shapes.cache_clear()


def test_a_network_of_torchvision_is_loaded_from_its_file(small_resnet: TorchvisionBackbone, tmp_path: Path) -> None:
    theirs = module("resnet", seed=2).float()
    state = {key: value for key, value in theirs.state_dict().items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "small.pth")
    network = weights.load_network(small_resnet, pooling="max", padding="zeros", file=tmp_path / "small.pth")
    image = torch.rand(1, 3, 32, 48)
    extractor = create_feature_extractor(theirs, ["relu", "layer1.0", "layer2.1"], suppress_diff_warning=True).eval()
    expected = extractor((image - network.mean) / network.std)
    features = network(image, small_resnet.layer_names)
    for layer, feature in features.items():
        torch.testing.assert_close(feature, expected[layer], rtol=1e-3, atol=1e-4)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in network.modules())
    weights.import_file(small_resnet, tmp_path / "small.pth")
    again = weights.load_network(small_resnet, pooling="max", padding="zeros")(image, {"relu"})["relu"]
    assert torch.equal(again, features["relu"])
    for changed, sentence in (
        ({**state, "fc.weight": torch.zeros(3, 3)}, "its fc.weight is float32 of shape"),
        ({**state, "fc.more": torch.zeros(3)}, "has no fc.more"),
        ({"conv1.weight": state["conv1.weight"]}, "it lacks bn1.weight"),
        ({**state, "conv1.weight": torch.full((64, 3, 7, 7), float("nan"))}, "NaN or infinite"),
    ):
        torch.save(changed, tmp_path / "other.pth")
        with pytest.raises(WeightsError, match=sentence):
            weights.load_weights(small_resnet, file=tmp_path / "other.pth")
