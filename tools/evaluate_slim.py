"""Linear-probe R2 of `vgg19-slim` against its teachers, beside other networks of the same shape.

    python tools/evaluate_slim.py --shared ../shared [--other FILE.safetensors]

For each layer a ridge regression from the student's activations to the teacher's is fitted on crops of the training
images and scored on photographs and paintings that were not trained on. The teachers are VGG-19 up to conv3_4 and the
16x encoder from conv4_1 on; the encoder itself stands in the last column, for the layers where VGG-19 is the teacher.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from train_slim import NAMES, Crops, Teachers, held_out

from hires_nst.backbones.registry import BACKBONES
from hires_nst.backbones.vgg import VGG
from hires_nst.backbones.weights import load_weights

Features = Callable[[Tensor], dict[str, Tensor]]


def network(weights: dict[str, Tensor]) -> Features:
    """A student's activations at every layer."""
    vgg = VGG(BACKBONES["vgg19-slim"], weights)
    return lambda images: vgg(images, NAMES)


def other_weights(file: Path) -> dict[str, Tensor]:
    """Weights under this project's names, or under `c.NM.weight`."""
    tensors = load_file(file)
    return {(f"conv{k[2]}_{k[3]}{k[4:]}" if k.startswith("c.") else k): v.float() for k, v in tensors.items()}


@torch.no_grad()
def flat(features: Features, images: Tensor) -> dict[str, Tensor]:
    """(positions, channels) of each layer, in float64, with a subset of the positions of the large ones."""
    result: dict[str, list[Tensor]] = {name: [] for name in NAMES}
    for image in images.split(4):
        for name, f in features(image).items():
            step = max(1, f.shape[2] // 24)
            result[name].append(f[:, :, ::step, ::step].permute(0, 2, 3, 1).reshape(-1, f.shape[1]).double())
    return {name: torch.cat(parts) for name, parts in result.items() if parts}


def probe(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """R2 of a ridge regression with a constant, fitted on `train` and scored on `test`: (inputs, targets) each."""
    mean_in, mean_out = train[0].mean(0), train[1].mean(0)
    inputs = train[0] - mean_in
    square = inputs.T @ inputs
    ridge = 1e-4 * square.trace() / len(square) * torch.eye(len(square), dtype=square.dtype)
    matrix = torch.linalg.solve(square + ridge, inputs.T @ (train[1] - mean_out))
    error = (test[0] - mean_in) @ matrix + mean_out - test[1]
    return 1 - float(error.square().sum() / (test[1] - test[1].mean(0)).square().sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--other", type=Path, help="weights of another student to compare with")
    parser.add_argument("--crops", type=int, default=240)
    options = parser.parse_args()
    teachers = Teachers(options.shared / "teachers")
    crops = Crops(options.shared / "images/training", 1)
    fitted = torch.stack([crops.plain(kind) for kind in ("photo", "style", "photo") for _ in range(options.crops // 3)])
    tested, _ = held_out(options.shared, teachers)
    columns: dict[str, Features] = {"vgg19-slim": network(load_weights(BACKBONES["vgg19-slim"]))}
    if options.other is not None:
        columns[options.other.stem] = network(other_weights(options.other))
    columns["16x encoder"] = teachers.encode
    goal = flat(teachers, fitted), flat(teachers, tested)
    values = {name: (flat(f, fitted), flat(f, tested)) for name, f in columns.items()}
    print("| layer | " + " | ".join(columns) + " |\n|" + " --- |" * (len(columns) + 1))
    for layer in NAMES:
        cells = []
        for name, (train, test) in values.items():
            itself = name == "16x encoder" and layer >= "conv4"
            score = probe((train[layer], goal[0][layer]), (test[layer], goal[1][layer]))
            cells.append("(teacher)" if itself else f"{score:.3f}")
        print(f"| {layer} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
