"""Compare `vgg19-slim`, or another student, with its teachers, on contents and styles that it was not trained on.

    python tools/evaluate_slim.py --shared ../shared [--weights FILE.safetensors] [--parts features transfer ...]

- features: R2 of a ridge regression from the activations to the teacher's (VGG-19 up to conv3_4, the 16x encoder from
  conv4_1 on), fitted on crops of the training images and scored on held-out photographs and paintings;
- transfer: pictures made with the student and with the encoder in the same number of evaluations, scored by networks
  that did not make them;
- gradient: cosine similarity to VGG-19's gradient of the style loss at the start of a coarse level;
- cost: CPU time and memory of an evaluation, compared with VGG-19.

The tables are printed, and with `--out` written to a Markdown file, with a contact sheet of the pictures next to it.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import io
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from slim_card import model_card, read_training
from slim_cost import measured
from slim_images import Crops, held_out
from slim_networks import NAMES, Teachers, regression, student
from slim_transfer import PAIRS, Judges, Pair, Verdict, colour_noise, cosine, style_gradient, stylized
from torch import Tensor

from hires_nst.backbones.registry import BACKBONES
from hires_nst.backbones.vgg import VGG
from hires_nst.backbones.weights import bundled_file
from hires_nst.config import Levels, Loss, Optimizer
from hires_nst.evaluation.metrics import roughness

Features = Callable[[Tensor], dict[str, Tensor]]

SHEET_BYTES = 1_450_000
PARTS = ("features", "transfer", "gradient", "cost")
COARSE = 256
"""The side of the coarse level at which gradients are compared, in pixels."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@torch.no_grad()
def flat(features: Features, images: Tensor) -> dict[str, Tensor]:
    """(positions, channels) of each layer, in float64, with a subset of the positions of the large ones."""
    result: dict[str, list[Tensor]] = {name: [] for name in NAMES}
    for image in torch.split(images, 4):
        for name, f in features(image).items():
            step = max(1, f.shape[2] // 24)
            result[name].append(f[:, :, ::step, ::step].permute(0, 2, 3, 1).reshape(-1, f.shape[1]).double())
    return {name: torch.cat(parts) for name, parts in result.items()}


def probe(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """R2 of a ridge regression with a constant, fitted on `train` and scored on `test`: (inputs, targets) each."""
    matrix, constant = regression(*train, ridge=1e-4)
    error = test[0] @ matrix + constant - test[1]
    return 1 - float(error.square().sum() / (test[1] - test[1].mean(0)).square().sum())


def features(slim: VGG, teachers: Teachers, shared: Path, count: int) -> str:
    """Linear probes, layer by layer."""
    crops = Crops(shared / "images/training", 1)
    fitted = torch.stack([crops.plain(kind) for kind in ("photo", "style", "photo") for _ in range(count // 3)])
    tested = held_out(shared)
    goal = flat(teachers, fitted), flat(teachers, tested)
    scores = {}
    for network in (slim, teachers.encoder):
        train, test = (flat(lambda images, n=network: n(images, NAMES), part) for part in (fitted, tested))  # type: ignore[misc]
        scores[network] = [probe((train[x], goal[0][x]), (test[x], goal[1][x])) for x in NAMES]
    rows = [
        [layer, f"{mine:.3f}", "(teacher)" if layer >= "conv4" else f"{encoder:.3f}"]
        for layer, mine, encoder in zip(NAMES, scores[slim], scores[teachers.encoder], strict=True)
    ]
    return table(["layer", slim.backbone.name, "16x encoder"], rows)


def transfer(
    slim: VGG, teachers: Teachers, pairs: Sequence[Pair], loss: Loss, size: int, levels: Levels, optimizer: Optimizer
) -> tuple[str, str, Image.Image]:
    """The table of scores, the table of criteria, and the contact sheet."""
    rows, sheet = [], []
    verdicts: dict[str, list[Verdict]] = {}
    for pair in pairs:
        judge = Judges(teachers.vgg, teachers.encoder, pair, size)
        pictures = {
            "photograph unchanged": pair.content_at(size),
            "noise in the painting's colours": colour_noise(pair, size),
            teachers.encoder.backbone.name: stylized(teachers.encoder, Loss(), pair, size, levels, optimizer),
            slim.backbone.name: stylized(slim, loss, pair, size, levels, optimizer),
        }
        for name, picture in pictures.items():
            verdict = judge(picture)
            verdicts.setdefault(name, []).append(verdict)
            rows.append([pair.name, name, *cells(verdict)])
        painting = pair.style_at(size).pixels
        rows.append([pair.name, "the painting itself", "0", "0", "", f"{roughness(painting):.1f}"])
        unchanged, _, *painted = pictures.values()
        sheet.append(np.concatenate([canvas.pixels for canvas in (unchanged, *painted)], axis=1))
    means = {
        name: Verdict(*(float(np.mean([getattr(v, part) for v in found])) for part in Verdict.__dataclass_fields__))
        for name, found in verdicts.items()
    }
    rows += [["mean", name, *cells(mean)] for name, mean in means.items()]
    names = "photograph unchanged", teachers.encoder.backbone.name, slim.backbone.name
    of_means = criteria(*(means[name] for name in names))
    of_pairs = [criteria(*found) for found in zip(*(verdicts[name] for name in names), strict=True)]
    scores = []
    for number, (what, wanted, value) in enumerate(of_means):
        each = [found[number][2] for found in of_pairs]
        share = "removed" in what
        scores.append(
            [what, wanted, *(f"{100 * v:.1f} %" if share else f"{v:.2f}" for v in (value, min(each), max(each)))]
        )
    header = [
        *("content, style", "picture", "VGG-19 conv1_1 to conv3_1", "encoder conv4_1, conv5_1"),
        *("content, encoder conv4_2", "power above 3/4 Nyquist"),
    ]
    pixels = (np.concatenate(sheet) * 255 + 0.5).clip(0, 255).astype(np.uint8)
    summary = table(["what", "goal", "of the means", "minimum of a pair", "maximum of a pair"], scores)
    return table(header, rows), summary, Image.fromarray(pixels)


def criteria(photo: Verdict, encoder: Verdict, mine: Verdict) -> list[tuple[str, str, float]]:
    """Criteria for the student's picture relative to the encoder's: name, goal, value."""
    return [
        ("shallow style loss over the encoder's", "at most 1.25", mine.shallow / encoder.shallow),
        ("deep style loss removed, student", "at least 85 %", 1 - mine.deep / photo.deep),
        ("deep style loss removed, encoder", "", 1 - encoder.deep / photo.deep),
        ("content loss over the encoder's", "at most 1.15", mine.content / encoder.content),
        ("high-frequency power over the encoder's", "at most 1.3", mine.roughness / encoder.roughness),
    ]


def cells(verdict: Verdict) -> list[str]:
    """The numbers of a verdict, as cells of a table."""
    return [f"{verdict.shallow:.4f}", f"{verdict.deep:.4f}", f"{verdict.content:.3f}", f"{verdict.roughness:.1f}"]


def gradient(slim: VGG, teachers: Teachers, pairs: Sequence[Pair]) -> str:
    """Cosine similarities to VGG-19's gradient at the photograph."""
    rows, networks = [], (slim, teachers.encoder)
    found = []
    for pair in pairs:
        goal = style_gradient(teachers.vgg, pair, COARSE)
        found.append([cosine(style_gradient(network, pair, COARSE), goal) for network in networks])
        rows.append([pair.name, *(f"{value:.3f}" for value in found[-1])])
    rows.append(["mean", *(f"{value:.3f}" for value in np.mean(found, axis=0))])
    return table(["content, style", *(network.backbone.name for network in networks)], rows)


def costs(file: Path) -> str:
    """Time and memory, compared with VGG-19."""
    slim, vgg = measured(file), measured(None)
    rows = [
        ["CPU seconds per megapixel", f"{slim[0]:.2f}", f"{vgg[0]:.2f}", f"1/{vgg[0] / slim[0]:.1f}", "at most 1/6"],
        [
            "peak memory per megapixel, GB",
            f"{slim[1] / 1e9:.2f}",
            f"{vgg[1] / 1e9:.2f}",
            f"1/{vgg[1] / slim[1]:.1f}",
            "at most 1/3",
        ],
    ]
    return table(["an evaluation with gradient", "student", "VGG-19", "ratio", "goal"], rows)


def jpeg(sheet: Image.Image) -> bytes:
    """The sheet as a JPEG of the best quality that stays below SHEET_BYTES."""
    for quality in range(92, 40, -4):
        target = io.BytesIO()
        sheet.save(target, "JPEG", quality=quality, optimize=True)
        if target.tell() < SHEET_BYTES:
            break
    return target.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--weights", type=Path, default=bundled_file(BACKBONES["vgg19-slim"]), help="of the student")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--crops", type=int, default=240)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--coarse-steps", type=int, default=100, help="evaluations at half the size")
    parser.add_argument("--rounds", type=int, default=Levels().rounds, help="at the full size")
    parser.add_argument("--pairs", type=int, default=len(PAIRS))
    parser.add_argument(
        "--pooling", choices=["max", "average", "l2"], default=BACKBONES["vgg19-slim"].pooling, help="of the student"
    )
    parser.add_argument(
        "--tv", type=float, default=Loss().tv_weight, help="weight of the total variation, student only"
    )
    parser.add_argument("--optimizer", choices=["lbfgs", "adam"], default="lbfgs")
    parser.add_argument("--out", type=Path, help="a Markdown file; the contact sheet is written next to it")
    parser.add_argument("--card", type=Path, help="the model card to write, with --training and all parts")
    parser.add_argument("--training", type=Path, help="training.json of `train_slim.py`")
    parser.add_argument("--png", type=Path, help="a lossless contact sheet")
    options = parser.parse_args()
    if options.card and (options.training is None or set(options.parts) != set(PARTS)):
        parser.error("--card needs --training, and all parts")
    for file in (options.out, options.card, options.png):
        if file is not None and not file.absolute().parent.is_dir():
            parser.error(f"the folder of {file} does not exist")
    slim = student("student", options.weights, pooling=options.pooling)
    teachers = Teachers(options.shared / "teachers")
    pairs = [Pair.read(options.shared, *names) for names in PAIRS[: options.pairs]]
    text = ["# vgg19-slim compared with its teachers"]
    machine = f"{torch.get_num_threads()} CPU threads ({platform.machine()}), torch {torch.__version__}"
    text.append(f"{datetime.date.today().isoformat()}, {machine}. Made by `python tools/evaluate_slim.py`.")

    tables: dict[str, str] = {}

    def add(part: str, title: str, body: str) -> None:
        tables[part] = body
        text.append(f"## {title}\n\n{body}")
        print(text[-1], f"\n({time.process_time():.0f} s)\n", flush=True)

    if "features" in options.parts:
        add("features", "Features: R2 of linear probes", features(slim, teachers, options.shared, options.crops))
    if "gradient" in options.parts:
        title = f"Gradient at the photograph, {COARSE} px: cosine to VGG-19's"
        add("gradient", title, gradient(slim, teachers, pairs))
    if "cost" in options.parts:
        add("cost", "Cost", costs(options.weights))
    if "transfer" in options.parts:
        levels = Levels(min_size=options.size // 2, coarse_steps=options.coarse_steps, rounds=options.rounds)
        body, criteria, sheet = transfer(
            *(slim, teachers, pairs, Loss(tv_weight=options.tv), options.size, levels),
            Optimizer(name=options.optimizer),
        )
        evaluations = f"{options.coarse_steps} + {options.rounds} x {levels.steps} evaluations"
        add("transfer", f"Transfer: pictures of {options.size} px, {evaluations}", body)
        add("criteria", "Transfer: the means", criteria)
        if options.png:
            sheet.save(options.png)
        if options.out:
            options.out.with_suffix(".jpg").write_bytes(jpeg(sheet))
    if options.out:
        options.out.write_text("\n\n".join(text) + "\n")
    if options.card:
        backbone = dataclasses.replace(slim.backbone, name="vgg19-slim")
        card = model_card(backbone, options.weights, read_training(options.training), tables)
        options.card.write_text(card)


if __name__ == "__main__":
    main()
