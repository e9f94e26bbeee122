"""A module of the user's own as the network of a run."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hires_nst
from hires_nst import Config, events
from hires_nst.backbones import registry, weights
from hires_nst.backbones.registry import BACKBONES
from hires_nst.backbones.traced_layers import OwnBackbone
from hires_nst.errors import ConfigError, WeightsError
from hires_nst.executors.messages import packed, unpacked
from hires_nst.executors.worker import TileWorker
from hires_nst.run.cache import Cache
from hires_nst.run.context import model_key
from tests.backbones.networks import LAYERS, known_networks, module
from tests.executors.fakes import setup_for
from tests.run import test_resume
from tests.run.test_resume import interrupted, run_of, stylize

inputs = test_resume.inputs


def register(kind: str = "inception", *, seed: int = 1, own: nn.Module | None = None, **options: Any) -> None:
    layers = LAYERS[kind]
    hires_nst.register_network(
        "mine", own or module(kind, seed).float(), style_layers=layers[:-1], content_layers=layers[-1:], **options
    )


known = pytest.fixture(autouse=True)(known_networks)


def settings(**sections: Any) -> dict[str, Any]:
    return {
        **test_resume.settings(model={"name": "mine"}, runtime={"precision": "float32"}, **sections),
        "loss": {"tv_weight": 0.1},
    }


@pytest.mark.parametrize("kind", ["inception", "others"])
def test_a_picture_is_painted_and_resumed_with_it(inputs: Path, tmp_path: Path, kind: str) -> None:
    register(kind)
    whole, out = tmp_path / "whole.png", tmp_path / "out.png"
    stylize(inputs, whole, settings())
    interrupted(inputs, out, events.TileFinished, 4, settings())
    register(kind)  # as another process would
    hires_nst.resume(run_of(out))
    assert out.read_bytes() == whole.read_bytes()


def test_it_travels_to_workers_that_do_not_know_it() -> None:
    register()
    network = weights.load_network(BACKBONES["mine"], pooling="max", padding="zeros")
    message = packed(setup_for(network, torch.float32))
    del registry._networks["mine"]
    worker, image = TileWorker(unpacked(message)), torch.rand(1, 3, 48, 64)
    expected = network(image, LAYERS["inception"])
    for layer, feature in worker._extract(image, LAYERS["inception"]).items():
        assert torch.equal(feature, expected[layer])
    backbone = network.backbone
    assert isinstance(backbone, OwnBackbone)
    assert len(pickle.dumps(backbone)) < 20_000, "its modules stay"


def test_a_shared_cache_knows_a_network_that_was_replaced() -> None:
    keys = []
    for seed in (1, 2, 1):
        register(seed=seed)
        keys.append(model_key(Config(model={"name": "mine"}), Cache()))
    assert keys[0] == keys[2] != keys[1]


def test_a_run_goes_on_only_with_the_same_module(inputs: Path, tmp_path: Path) -> None:
    register()
    out = tmp_path / "out.png"
    interrupted(inputs, out, events.TileFinished, 4, settings())
    for changed in ({"seed": 2}, {"mean": (0.1, 0.0, 0.0)}):
        register(**changed)
        with pytest.raises(
            WeightsError, match=r"the network mine that is registered is not the one with which the run"
        ):
            hires_nst.resume(run_of(out))
    done = subprocess.run(
        [sys.executable, "-m", "hires_nst", "resume", str(run_of(out))], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == ConfigError.exit_code
    assert "there is no network 'mine'" in done.stderr
    assert "one of your own has to be registered in this process first" in " ".join(done.stderr.split())
    register()
    hires_nst.resume(run_of(out))
    assert out.is_file()


def test_what_becomes_of_the_module_later_changes_nothing() -> None:
    own, image = module("others").float(), torch.rand(1, 3, 32, 32)
    register("others", own=own)
    backbone = BACKBONES["mine"]
    before = weights.load_network(backbone, pooling="max", padding="zeros")
    expected = before(image, {"block"})["block"]
    with torch.no_grad():
        own.get_parameter("stem.weight").add_(1)
    before.to(torch.float64)  # a network that was loaded is its own too
    after = weights.load_network(backbone, pooling="max", padding="zeros")
    assert torch.equal(after(image, {"block"})["block"], expected)
    register("others", own=own)
    assert BACKBONES["mine"].weights.sha256 != backbone.weights.sha256


def test_its_layers_are_the_defaults_and_more_may_be_named() -> None:
    hires_nst.register_network(
        "mine", module("resnet"), style_layers=["layer2.1", "relu"], content_layers=["layer2.0"], layers=["layer1.0"]
    )
    config = Config(model={"name": "mine"}, loss={"content_layers": {"layer1.0": 1.0}})
    assert config.backbone.layer_names == ("relu", "layer1.0", "layer2.0", "layer2.1")
    assert config.loss.style_layers == {"layer2.1": 1.0, "relu": 1.0}
    assert (config.layers, config.stride) == (("relu", "layer1.0", "layer2.1"), 8)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("vgg19", {}, "vgg19 is the name of a network of the program; give yours another name"),
        ("", {}, "needs a name"),
        ("mine", {"std": (1.0, 0.0, 1.0)}, "std above 0"),
        ("mine", {"layers": ["pixels"]}, "no layer of a network can be called 'pixels'"),
        ("mine", {"style_layers": ["stem", "nowhere"]}, "layers of mine cannot be found: node: 'nowhere'"),
    ],
)
def test_a_registration_that_fails_changes_nothing(name: str, options: dict[str, Any], sentence: str) -> None:
    before = dict(BACKBONES)
    with pytest.raises(ConfigError, match=sentence):
        hires_nst.register_network(
            name, module("others"), **{"style_layers": ["stem"], "content_layers": ["block"], **options}
        )
    assert dict(BACKBONES) == before


def test_it_has_no_file_of_weights(tmp_path: Path) -> None:
    register()
    (listed,) = (model for model in hires_nst.models.list() if model.name == "mine")
    assert (listed.provider, listed.present, listed.looked_at) == ("python", True, False)
    (check,) = hires_nst.models.verify("mine")
    assert check.state == "ok"
    (tmp_path / "w.pth").write_bytes(b"")
    with pytest.raises(WeightsError, match="it needs no file, and takes none"):
        weights.fetch(BACKBONES["mine"])
    with pytest.raises(WeightsError, match="it needs no file, and takes none"):
        hires_nst.models.import_file(tmp_path / "w.pth", name="mine")
    with pytest.raises(ValueError, match="mine has the weights of its module; leave weights out"):
        Config(model={"name": "mine", "weights": tmp_path / "w.pth"})
