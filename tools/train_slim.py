"""Train `vgg19-slim`, the bundled network, by distillation; deterministic from a seed.

    python tools/train_slim.py --shared ../shared --steps 9000 --out build/slim [--grow FILE.safetensors]

Teachers: the original VGG-19 (Simonyan and Zisserman 2014) for conv1_1 to conv3_4, and the 16x encoder of Wang et al.
(Collaborative Distillation, CVPR 2020) for conv4_1 to conv5_1, compared through its `aux` maps too. The student starts
from random weights, or with `--grow` from a trained network of other widths. It learns, layer by layer and all at
once,

- features: the teacher's activations through a learned 1x1 map, as a share of their variance (1 - R2);
- similarities: the centred kernel alignment of student and teacher activations (Kornblith et al. 2019; Tung and Mori
  2019). Losses on covariances depend on the features through this kernel only, and a learned map would hide it.

The first layer is fitted to the teacher's by itself before the steps, and then fixed (see `slim_networks.fit_first`).

Both are computed at random positions, because neighbouring ones are nearly the same. Batch normalisation follows every
convolution except those of the first block, and is folded into the weights at the end. Batches are drawn from a bank of
crops with the teachers' features, of which `--fresh` are replaced at each step. Some of the new crops are half-stylized
by the student itself, so that it is trained on the noise that optimisation makes.

A run that is started again resumes from its checkpoint, with the same crops; other options are refused. Next to the
network are log.jsonl, with the losses, and training.json, from which `evaluate_slim.py --card` writes the model card.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import json
import math
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from slim_images import Crops, HalfStylized, held_out
from slim_networks import FIRST, NAMES, Blocks, Student, Teachers, narrowed
from torch import Tensor, nn

from hires_nst.backbones.registry import BACKBONES, SLIM_BLOCKS

ALIGNED = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1")
"""The layers of the style and content losses: their similarities are part of the loss, with weight 1."""

WEIGHT = {name: 2.0 if name in ALIGNED else 0.3 for name in NAMES}
"""Weights of the features."""

POSITIONS = 400
"""Maximum number of positions per image and layer in the loss."""

SIMILAR = 1024
"""Maximum number of positions per batch and layer between which similarities are computed."""

HALF_EVERY = 15
"""Steps between two batches of half-stylized images."""

HALF_FROM = 300
"""The first step that may be followed by one: before that, the student has learned too little."""


class Bank:
    """Crops with their teachers' features, (positions, channels) in float16; the oldest are replaced first."""

    def __init__(self, teachers: Teachers, size: int) -> None:
        self.teachers = teachers
        self.size = size
        self.images: list[Tensor] = []
        self.features: list[dict[str, Tensor]] = []
        self.next = 0

    def add(self, images: Tensor) -> None:
        """Add (B, 3, CROP, CROP); the bank never holds more than `size` crops."""
        # In bfloat16 the teachers are four times as fast; the error is at most 2e-4 of the variance.
        with torch.autocast(images.device.type, torch.bfloat16):
            features = {n: f.permute(0, 2, 3, 1).flatten(1, 2).half() for n, f in self.teachers(images).items()}
        for i, image in enumerate(images):
            entry = {name: f[i].clone() for name, f in features.items()}
            if len(self.images) < self.size:
                self.images.append(image.clone())
                self.features.append(entry)
            else:
                self.images[self.next], self.features[self.next] = image.clone(), entry
                self.next = (self.next + 1) % self.size

    def draw(
        self, rng: np.random.Generator, count: int, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """A random batch of images, random positions of each layer, and the teachers' features there in float32."""
        chosen = rng.choice(len(self.images), count, replace=False)
        positions, target = {}, {}
        for name in NAMES:
            available = len(self.features[0][name])
            positions[name] = torch.randperm(available, generator=generator)[:POSITIONS]
            target[name] = torch.stack([self.features[i][name][positions[name]] for i in chosen]).float()
        return torch.stack([self.images[i] for i in chosen]), positions, target


def alignment(student: Tensor, teacher: Tensor) -> Tensor:
    """Centred kernel alignment of two sets of features, (n, C) and (n, D): a scalar in [0, 1]."""
    student, teacher = student - student.mean(0), teacher - teacher.mean(0)
    cross = (student.T @ teacher).square().sum()
    aligned: Tensor = cross / ((student.T @ student).norm() * (teacher.T @ teacher).norm() + 1e-8)
    return aligned


def distillation(
    student: Student,
    images: Tensor,
    positions: Mapping[str, Tensor],
    target: Mapping[str, Tensor],
    aux: Mapping[str, Tensor],
    generator: torch.Generator,
    *,
    similarity: float = 1.0,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch, and of each layer the unexplained share of variance and the lack of similarity.

    Args:
        positions: indices of the positions of each layer that count.
        target: the teachers' features there, (B, positions, channels).
        similarity: weight of the similarities.
    """
    features = student(images)
    loss, scores = images.new_zeros(()), {}
    for name in NAMES:
        mine = features[name].permute(0, 2, 3, 1).flatten(1, 2)[:, positions[name]].flatten(0, 1)
        theirs = target[name].flatten(0, 1)
        error = student.maps[name](mine) - theirs
        share = error.square().mean()
        loss = loss + WEIGHT[name] * share
        scores[name] = share.item()
        if name in aux:
            loss = loss + 0.5 * (error @ aux[name].T).square().mean()
        if name in ALIGNED:
            chosen = torch.randperm(len(mine), generator=generator)[:SIMILAR]
            seen = theirs[chosen] @ aux[name].T if name in aux else theirs[chosen]
            similar = alignment(mine[chosen], seen)
            loss = loss + similarity * (1 - similar)
            scores[f"{name}/similar"] = 1 - similar.item()
    return loss, scores


@torch.no_grad()
def validate(student: Student, images: Tensor, target: Mapping[str, Tensor]) -> dict[str, float]:
    """R2 of every layer through the learned maps, with running statistics."""
    student.eval()
    scale = {name: (f - f.mean((0, 2, 3), keepdim=True)).square().mean() for name, f in target.items()}
    total = dict.fromkeys(NAMES, 0.0)
    for i in range(0, len(images), 4):
        for name, f in student(images[i : i + 4]).items():
            error = student.maps[name](f.permute(0, 2, 3, 1)) - target[name][i : i + 4].permute(0, 2, 3, 1)
            total[name] += float(error.square().mean() / scale[name]) * len(error) / len(images)
    student.train()
    return {name: 1 - value for name, value in total.items()}


def blocks(text: str) -> Blocks:
    """`16,16/32,32/...` as channels of each convolution of each block."""
    return tuple(tuple(int(width) for width in block.split(",")) for block in text.split("/"))


class Run:
    """The whole state of a training run, so that it can be saved and resumed."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.checkpoint = options, options.out / "checkpoint.pt"
        saved = self.saved()
        torch.manual_seed(options.seed)
        self.device = torch.device(options.device)
        self.generator = torch.Generator().manual_seed(options.seed)
        self.crops = Crops(options.shared / "images/training", options.seed)
        self.teachers = Teachers(options.shared / "teachers").to(self.device)
        first = self.new_crops(64)
        self.teachers.calibrate(first)
        self.student = Student(options.widths, self.teachers.channels, pooling=options.pooling).to(self.device)
        target = self.teachers(first)
        if options.grow is not None:
            weights = load_file(options.grow, device=str(self.device))
            self.student.grow_from(narrowed(weights, options.widths, first, target), first)
        self.student.fit_first(first, target[FIRST])
        if options.grow is not None:
            self.student.fit_maps(first, target)
        self.optimizer = torch.optim.AdamW(self.student.trained, lr=options.rate, weight_decay=1e-4)
        self.pool = HalfStylized(self.crops, 12)
        self.bank = Bank(self.teachers, options.bank)
        self.test_images = held_out(options.shared).to(self.device)
        self.test_targets = self.teachers(self.test_images)
        self.step, self.seconds = 0, 0.0
        if saved is not None:
            self.load(saved)
        else:
            while len(self.bank.images) < options.bank // 2:
                self.bank.add(self.new_crops(8))

    def new_crops(self, count: int) -> Tensor:
        """Augmented crops, (count, 3, CROP, CROP)."""
        return torch.stack([self.crops.augmented() for _ in range(count)]).to(self.device)

    def advance(self) -> dict[str, float]:
        """One step of training; its scores."""
        began = time.monotonic()
        options, rng = self.options, self.crops.rng
        warm = min(1.0, (self.step + 1) / 200)
        cosine = 0.5 * (1 + math.cos(math.pi * self.step / options.steps))
        self.optimizer.param_groups[0]["lr"] = options.rate * warm * cosine
        if self.step % HALF_EVERY == HALF_EVERY - 1 and self.step > HALF_FROM:
            self.bank.add(self.pool.advance(self.student, steps=5))
        else:
            self.bank.add(self.new_crops(options.fresh))
        images, positions, target = self.bank.draw(rng, options.batch, self.generator)
        loss, scores = distillation(
            self.student, images, positions, target, self.teachers.aux, self.generator, similarity=options.similarity
        )
        self.student.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.student.trained, 5.0)
        self.optimizer.step()
        self.step += 1
        self.seconds += time.monotonic() - began
        return {"loss": loss.item()} | scores

    def save(self) -> None:
        """Write the checkpoint and the present network."""
        state = {
            "options": self.recorded_options(),
            "step": self.step,
            "seconds": self.seconds,
            "student": self.student.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": json.dumps(self.crops.rng.bit_generator.state),
            "generator": self.generator.get_state(),
            "pool": [self.pool.contents, self.pool.images, self.pool.styles],
            "bank": torch.stack(self.bank.images).cpu(),
            "next": self.bank.next,
        }
        torch.save(state, self.checkpoint.with_suffix(".new"))
        self.checkpoint.with_suffix(".new").replace(self.checkpoint)
        half = {name: tensor.half().cpu().contiguous() for name, tensor in self.student.folded().items()}
        file = self.options.out / "vgg19-slim.safetensors"
        save_file(half, file, {"network": "vgg19-slim", "step": str(self.step)})

    def about(self, r2: Mapping[str, float]) -> dict[str, Any]:
        """The facts about the training that the model card has."""
        kind = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else platform.machine()
        threads = "" if self.device.type == "cuda" else f", CPU threads: {torch.get_num_threads()}"
        return {
            "date": datetime.date.today().isoformat(), "machine": kind + threads, "steps": self.step,
            "minutes": round(self.seconds / 60), "options": self.recorded_options(), "r2": dict(r2),
            "grown_from": self.options.grow and hashlib.sha256(self.options.grow.read_bytes()).hexdigest(),
        }  # fmt: skip

    def recorded_options(self) -> dict[str, Any]:
        """The options on which the result depends, as JSON values."""
        options = {name: value for name, value in vars(self.options).items() if name not in ("shared", "out", "every")}
        options["grow"] = self.options.grow and self.options.grow.name
        return dict(json.loads(json.dumps(options)))

    def saved(self) -> dict[str, Any] | None:
        """The checkpoint, if there is one; ends the program if it was made with other options."""
        if not self.checkpoint.exists():
            return None
        state: dict[str, Any] = torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        wanted, before = self.recorded_options(), state["options"]
        if changed := sorted(name for name in wanted if wanted[name] != before.get(name)):
            was = ", ".join(f"--{name} {before.get(name)}" for name in changed)
            sys.exit(f"{self.checkpoint} was made with {was}; give the same options, or another --out")
        return state

    def load(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint; the teachers' features of the bank are computed again."""
        self.step, self.seconds = state["step"], state["seconds"]
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.pool.contents, self.pool.images, self.pool.styles = state["pool"]
        for images in state["bank"].split(8):
            self.bank.add(images.to(self.device))
        self.bank.next = state["next"]
        self.crops.rng.bit_generator.state = json.loads(state["rng"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("build/slim"))
    parser.add_argument(
        "--widths", type=blocks, default=SLIM_BLOCKS, metavar="N,N/N,N/N,N,N,N/N,N,N,N/N", help="channels by block"
    )
    parser.add_argument("--pooling", choices=["max", "average", "l2"], default=BACKBONES["vgg19-slim"].pooling)
    parser.add_argument("--grow", type=Path, help="a trained network to start from, of any widths")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--fresh", type=int, default=4, help="new crops a step")
    parser.add_argument("--bank", type=int, default=512)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--similarity", type=float, default=1.0, help="weight of the similarities")
    parser.add_argument("--device", default="cpu", help="such as cuda")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=500, help="steps between validations and checkpoints")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)  # gradients that fade out would slow the CPU down
    run = Run(options)
    print("R2", run.step, validate(run.student, run.test_images, run.test_targets), flush=True)
    began, start = time.monotonic(), run.step
    while run.step < options.steps:
        scores = run.advance()
        if run.step % 50 == 0:
            rate = (time.monotonic() - began) / (run.step - start)
            print(f"step {run.step} loss {scores['loss']:.3f} {rate:.2f} s/step", flush=True)
        if run.step % options.every == 0 or run.step == options.steps:
            r2 = validate(run.student, run.test_images, run.test_targets)
            print("R2", run.step, {n: round(v, 3) for n, v in r2.items()}, flush=True)
            with (options.out / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": run.step, "r2": r2, "train": scores}) + "\n")
            (options.out / "training.json").write_text(json.dumps(run.about(r2), indent=1))
            run.save()


if __name__ == "__main__":
    main()
