from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hires_nst.config import (
    Config,
    assign,
    parse_config,
)
from hires_nst.errors import ConfigError
from tests.config.generated import TINY


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"preset": "draft"}, "unknown key 'preset'; a preset is given on the command line: --preset draft"),
        ({"levls": {}}, "unknown key 'levls'; did you mean 'levels'?"),
        ({"levels": {"rouns": 3}}, "unknown key 'rouns' in levels; did you mean 'rounds'?"),
        (
            {"long_edge": 100},
            "unknown key 'long_edge'; did you mean 'output.long_edge', written output: {long_edge: 2048}?",
        ),
        ({"output": {"print": {"papr": "A3"}}}, "unknown key 'papr' in output.print; did you mean 'paper'?"),
        ({"styles": [{"image": "a", "weigth": 1}]}, "unknown key 'weigth' in styles.0; did you mean 'weight'?"),
        ({"styles": [{"img": "a"}]}, "unknown key 'img' in styles.0; did you mean 'image'?"),
        ({"styles": [{}]}, "styles.0: a style is either image: FILE or folder: FOLDER; give one of them"),
        ({"styles": [{"image": "a", "folder": "b"}]}, "styles.0: a style is either image: FILE or folder: FOLDER"),
        ({"styles": [{"image": "a", "images": ["b"]}]}, "styles.0: images: are the pictures of a folder: give folder:"),
        ({"styles": [{"image": "a", "scale": 0}]}, "styles.0.scale should be a number above 0 or a list, not 0"),
        ({"styles": [{"image": "a", "scale": [1, "x"]}]}, "styles.0.scale should be a number above 0 or a list, not"),
        ({"styles": [{"image": "a", "scale": []}]}, "styles.0: scale needs at least one number"),
        ({"styles": [{"image": "a", "scale": 2, "size": 9}]}, "styles.0: scale and size each set the size"),
        ({"styles": [{"image": "a", "size": 0}]}, "styles.0.size should be a whole number from 1 to 500000, not 0"),
        ({"styles": [{"image": "a", "rotations": [45]}]}, "styles.0.rotations.0 should be 90, 180 or 270, not 45"),
        ({"styles": [{"image": "a", "rotations": 90}]}, "not 90; for example styles: [{rotations: [90, 180, 270]}]"),
        ({"styles": [{"image": "a", "rotations": [90, 90]}]}, "styles.0: rotations has a number twice"),
        ({"style_size": 512}, "did you mean 'styles.size', written styles: [{size: 1500}]?"),
        ({"gallery": 3}, "gallery should be the path of a file or a list, not 3"),
        ({"styles": "a.jpg"}, "styles should be a list, not 'a.jpg'; for example styles: [{image: painting.jpg}]"),
        ({"styles": ["a.jpg"]}, "styles.0 should be a mapping of keys to values, not 'a.jpg'; for example styles: [{"),
        (
            {"style": "a.jpg"},
            "unknown key 'style'; did you mean 'styles.image', written styles: [{image: painting.jpg}]",
        ),
        ({"size": 900}, "did you mean 'output.long_edge', written output: {long_edge: 2048}?"),
        ({"print": "A3"}, "did you mean 'output.print.paper', written output: {print: {paper: A3}}?"),
        ({"output": {"print": "A3"}}, "not 'A3'; for example output: {print: {paper: A3}}"),
        ({"output": {"size": 3}}, "unknown key 'size' in output; did you mean 'output.long_edge'"),
        ({"output.long_edge": 3}, "unknown key 'output.long_edge'; write output: {long_edge: 2048}"),
        ({"loss": {4: None}}, "the key 4 in loss is no word; decimals are written with a point"),
        ({"level": {"rounds": 3}}, "unknown key 'level'; did you mean 'levels'?"),
        ({"levels": {"content_weight": 1}}, "did you mean 'loss.content_weight', written loss: {content_weight: 0.2}?"),
        ({"image-size": 3}, "did you mean 'output.long_edge'"),
        ({"iterations": 3}, "did you mean 'levels.coarse_steps', written levels: {coarse_steps: 200}?"),
        ({"device": "cuda"}, "did you mean 'runtime.device', written runtime: {device: cuda:0}?"),
        (
            {"levels": {"rounds": 0}},
            "levels.rounds should be a whole number from 1 to 1000, not 0; for example levels: {rounds: 16}",
        ),
        ({"levels": {"rounds": "x"}}, "levels.rounds should be a whole number from 1 to 1000, not 'x'"),
        ({"levels": {"rounds": True}}, "levels.rounds should be a whole number from 1 to 1000, not true"),
        ({"levels": {"rounds": 2.5}}, "levels.rounds should be a whole number from 1 to 1000, not 2.5"),
        ({"output": {"scale": False}}, "output.scale should be a number above 0 and up to 1000, not false"),
        ({"output": {"bit_depth": True}}, "output.bit_depth should be 8 or 16, not true"),
        (
            {"loss": {"style_layers": {"conv1_1": True}}},
            "loss.style_layers.conv1_1 should be a number of at least 0, not true",
        ),
        ({"tiles": {"size": True}}, "tiles.size should be auto or a whole number from 16 to 100000, not true"),
        ({"levels": 3}, "levels should be a mapping of keys to values, not 3"),
        ({"tiles": {"size": 3}}, "tiles.size should be auto or a whole number from 16 to 100000, not 3"),
        ({"tiles": {"size": "abc"}}, "tiles.size should be auto or a whole number from 16 to 100000, not 'abc'"),
        (
            {"loss": {"style": "gramm"}},
            "loss.style should be mean-covariance, gram, mean-std, gram+mean-std, ",
        ),
        ({"loss": {"tv_weight": math.inf}}, "loss.tv_weight should be a number of at least 0, not inf"),
        ({"loss": {"style_layers": {"conv9_1": 1}}}, "vgg19-slim has no layer 'conv9_1'; did you mean 'conv"),
        ({"loss": {"style_layers": {"conv1_1": -1}}}, "loss.style_layers.conv1_1 should be a number of at least 0"),
        ({"loss": {"style_weight": 0, "content_weight": 0}}, "every weight is 0"),
        ({"output": {"long_edge": 9, "scale": 1}}, "output: long_edge and scale each set the size: give one of them"),
        ({"output": {"print": {"paper": "A33"}}}, "output.print.paper: 'A33' is not a paper size"),
        (
            {"output": {"background": "whiteish"}},
            "output.background: 'whiteish' is no colour; give one such as",
        ),
        ({"output": {"background": "#11223344"}}, "output.background: '#11223344' is no colour"),
        ({"model": {"name": "vgg18"}}, "model.name: there is no network 'vgg18'; did you mean 'vgg1"),
        ({"init": {"kind": "file"}}, "init: kind: file and file: PATH belong together"),
        ({"init": {"file": "a.png"}}, "init: kind: file and file: PATH belong together"),
        ({"runtime": {"device": "gpu"}}, "runtime.device: there is no device 'gpu'"),
        ({"version": 2}, "version should be 1, not 2"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(data: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(data)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@TINY
@given(st.text(max_size=30), st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=3))
def test_whatever_is_typed_is_a_configuration_or_a_config_error(text: str, data: dict[str, object]) -> None:
    attempts: tuple[Callable[[], Config], ...] = (
        lambda: parse_config(assign(data, text)),
        lambda: parse_config({"loss": data, "levels": data}),
    )
    for attempt in attempts:
        try:
            attempt()
        except ConfigError as error:
            assert "Traceback" not in str(error)
