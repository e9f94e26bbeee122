"""Train `vgg19-slim`, the bundled network, by distillation; deterministic from a seed for an uninterrupted run.

    python tools/train_slim.py --shared ../shared --steps 9000 --out build/slim

Teachers: the original VGG-19 (Simonyan and Zisserman 2014) for conv1_1 to conv3_4, and the 16x encoder of Wang et al.
(Collaborative Distillation, CVPR 2020) for conv4_1 to conv5_1, measured through its `aux` maps too. The student starts
from random weights. It learns, layer by layer and all at once,

- features: the teacher's activations through a learned 1x1 map, as a share of their variance (1 - R2);
- similarities: the centred kernel alignment of student and teacher activations (Kornblith et al. 2019; Tung and Mori
  2019). Losses on covariance matrices depend on the features through this kernel only, and a learned map would hide it.

Batch normalisation follows every convolution but those of the first block, and is folded into the weights at the end.
A bank of crops with the teachers' features is renewed slowly (`--fresh` crops a step of `--batch`), because the
teachers cost far more than the student. Part of what enters the bank is half-stylized by the student itself, so that it
meets the noise that optimisation finds in it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from textures import texture
from torch import Tensor, nn

from hires_nst.backbones.registry import SLIM_BLOCKS

MEAN, STD = 0.45, 0.225
CROP = 96
NAMES = [f"conv{b}_{i}" for b, widths in enumerate(SLIM_BLOCKS, 1) for i in range(1, len(widths) + 1)]
ALIGNED = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1")
WEIGHT = {name: 1.0 if name in ALIGNED else 0.5 for name in NAMES}
STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


def rectified(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 3 x 3 convolution with replicate padding and its rectifier."""
    return F.relu(F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), weight, bias))


class Teachers:
    """The two frozen teachers; `aux` holds the 1x1 maps of the second one, by layer."""

    def __init__(self, folder: Path) -> None:
        last = torch.channels_last
        vgg = load_file(folder / "vgg19_caffe_conv1_to_conv3.safetensors")
        indices = dict(zip(NAMES[:8], (0, 2, 5, 7, 10, 12, 14, 16), strict=True))
        self.vgg = {
            name: (vgg[f"features.{i}.weight"].to(memory_format=last), vgg[f"features.{i}.bias"])
            for name, i in indices.items()
        }
        encoder = load_file(folder / "vgg19_16x_encoder.safetensors")
        self.first = (encoder["conv0.weight"], encoder["conv0.bias"])
        self.encoder = {
            name: (
                encoder[f"conv{name[4]}{name[6]}.weight"].to(memory_format=last),
                encoder[f"conv{name[4]}{name[6]}.bias"],
            )
            for name in NAMES
        }
        self.aux = {
            name: encoder[f"conv{name[4]}1_aux.weight"].flatten(1)
            for name in NAMES
            if name.endswith("_1") and name >= "conv4"
        }
        self.unit = dict.fromkeys(NAMES, 1.0)

    def calibrate(self, images: Tensor) -> None:
        """Divide each layer's activations (and aux maps) by their standard deviation on these images from now on."""
        for name, f in self(images).items():
            flat = f.transpose(0, 1).flatten(1)
            flat = flat - flat.mean(1, keepdim=True)
            self.unit[name] = float(flat.square().mean().sqrt())
            if name in self.aux:
                self.aux[name] = self.aux[name] / (self.aux[name] @ (flat / self.unit[name])).square().mean().sqrt()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """What the student is to predict: VGG-19's activations up to conv3_4, the encoder's from conv4_1 on."""
        centre = torch.tensor([123.68, 116.779, 103.939]).view(1, 3, 1, 1)
        x = (images * 255 - centre).contiguous(memory_format=torch.channels_last)
        features = {}
        for name, (weight, bias) in self.vgg.items():
            if name in ("conv2_1", "conv3_1"):
                x = F.max_pool2d(x, 2)
            features[name] = x = rectified(x, weight, bias)
        features |= {name: f for name, f in self.encode(images).items() if name >= "conv4"}
        return {name: f / self.unit[name] for name, f in features.items()}

    def encode(self, images: Tensor) -> dict[str, Tensor]:
        """The encoder's activations at every layer (differentiable with respect to the images)."""
        x = F.conv2d(images, *self.first).contiguous(memory_format=torch.channels_last)
        features = {}
        for name, (weight, bias) in self.encoder.items():
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            features[name] = x = rectified(x, weight, bias)
        return features


class Student(nn.Module):
    """The network under training: convolution, batch normalisation (not in the first block), rectifier."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions, self.norms, self.maps = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        channels = 3
        teacher_channels = {"1": 64, "2": 128, "3": 256, "4": 128, "5": 128}
        for block, widths in enumerate(SLIM_BLOCKS, 1):
            for index, width in enumerate(widths, 1):
                name = f"conv{block}_{index}"
                conv = nn.Conv2d(channels, width, 3)
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                nn.init.zeros_(conv.bias)
                self.convolutions[name] = conv
                if block > 1:
                    self.norms[name] = nn.BatchNorm2d(width, momentum=0.02)
                self.maps[name] = nn.Conv2d(width, teacher_channels[name[4]], 1)
                channels = width
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        features = {}
        for name, conv in self.convolutions.items():
            if name.endswith("_1") and name != "conv1_1":
                x = F.max_pool2d(x, 2)
            x = conv(F.pad(x, (1, 1, 1, 1), mode="replicate"))
            if name in self.norms:
                x = self.norms[name](x)
            features[name] = x = F.relu(x)
        return features

    @torch.no_grad()
    def folded(self) -> dict[str, Tensor]:
        """Plain weights and biases with the batch normalisation folded in, `convN_M.weight` and `convN_M.bias`."""
        weights = {}
        for name, conv in self.convolutions.items():
            weight, bias = conv.weight.clone(), conv.bias.clone()
            if name in self.norms:
                norm = self.norms[name]
                gain = norm.weight / (norm.running_var + norm.eps).sqrt()
                weight, bias = weight * gain.view(-1, 1, 1, 1), (bias - norm.running_mean) * gain + norm.bias
            weights[f"{name}.weight"], weights[f"{name}.bias"] = weight.contiguous(), bias
        return weights


class Crops:
    """Random crops of the training images and procedural textures, augmented."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.images: dict[str, list[Image.Image]] = {"photo": [], "style": [], "stylized": []}
        for path in sorted(folder.glob("*.jpg")):
            with Image.open(path) as image:
                self.images[path.name.split("_")[0]].append(image.convert("RGB"))

    def plain(self, kind: str) -> Tensor:
        """An unaugmented crop at a random scale: (3, CROP, CROP)."""
        images = self.images[kind]
        image = images[self.rng.integers(len(images))]
        scale = min(2.0, 2 ** self.rng.uniform(-1.2, 1.0))
        side = min(int(CROP / scale), *image.size)
        left, top = (int(self.rng.integers(0, edge - side + 1)) for edge in image.size)
        crop = image.resize((CROP, CROP), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
        pixels = np.asarray(crop, np.float32).transpose(2, 0, 1) / 255
        return torch.from_numpy(np.ascontiguousarray(pixels))

    def augmented(self) -> Tensor:
        """A crop as the student sees it: (3, CROP, CROP)."""
        rng = self.rng
        kind = rng.choice(["photo", "style", "stylized", "texture"], p=[0.46, 0.3, 0.1, 0.14])
        x = torch.from_numpy(texture(rng, CROP)) if kind == "texture" else self.plain(kind)
        if rng.uniform() < 0.1:
            x = x.lerp(self.plain(rng.choice(["photo", "style"])), float(rng.uniform(0.2, 0.8)))
        if rng.uniform() < 0.5:
            x = x.flip(-1)
        if rng.uniform() < 0.25:
            x = x.flip(-2)
        if rng.uniform() < 0.25:
            x = x.transpose(-1, -2)
        if rng.uniform() < 0.5:
            grey = x.mean(0, keepdim=True)
            x = grey + (x - grey) * float(rng.uniform(0, 1.8))
            x = (x - 0.5) * float(rng.uniform(0.5, 1.5)) + 0.5 + float(rng.normal(0, 0.1))
            x = x * torch.from_numpy(rng.uniform(0.8, 1.2, (3, 1, 1)).astype(np.float32))
        if rng.uniform() < 0.15:
            x = x[torch.from_numpy(rng.permutation(3))]
        if rng.uniform() < 0.3:
            noise = rng.normal(0, 1, (3 if rng.uniform() < 0.6 else 1, CROP, CROP)).astype(np.float32)
            x = x + torch.from_numpy(noise) * float(rng.uniform(0, 0.12))
        return x.clamp(0, 1).contiguous()


def mean_covariance(features: Tensor) -> tuple[Tensor, Tensor]:
    """Per-image mean (B, C) and covariance (B, C, C) over positions."""
    flat = features.flatten(2)
    mean = flat.mean(2)
    centred = flat - mean[..., None]
    return mean, centred @ centred.transpose(1, 2) / flat.shape[2]


class HalfStylized:
    """Images on their way from a photograph to a painting, optimised with the student as it is now."""

    def __init__(self, crops: Crops, count: int) -> None:
        self.crops = crops
        self.contents = torch.stack([crops.plain("photo") for _ in range(count)])
        self.images = self.contents.clone()
        self.styles = torch.stack([crops.plain("style") for _ in range(count)])

    def advance(self, student: Student, *, steps: int) -> Tensor:
        """Renew a sixth of the images, take `steps` of Adam on all of them, and return a copy."""
        rng = self.crops.rng
        for i in np.flatnonzero(rng.uniform(size=len(self.images)) < 1 / 6):
            self.contents[i] = self.crops.plain(str(rng.choice(["photo", "stylized"])))
            self.styles[i] = self.crops.plain("style")
            noise = torch.from_numpy(rng.normal(0, 0.15, self.contents[i].shape).astype(np.float32))
            self.images[i] = (self.contents[i] + noise * float(rng.choice([0, 0, 1]))).clamp(0, 1)
        student.eval()
        student.requires_grad_(False)
        with torch.no_grad():
            targets = {name: mean_covariance(f) for name, f in student(self.styles).items() if name in STYLE_LAYERS}
            content = student(self.contents)["conv4_2"]
        x = self.images.clone().requires_grad_()
        optimizer = torch.optim.Adam([x], lr=float(rng.choice([0.01, 0.03])))
        for _ in range(steps):
            features = student(x)
            loss = 0.1 * ((features["conv4_2"] - content).square().sum() / content.square().sum()) * len(x)
            for name, (mean, covariance) in targets.items():
                now_mean, now_covariance = mean_covariance(features[name])
                for now, target in ((now_mean, mean), (now_covariance, covariance)):
                    error = (now - target).square().flatten(1).sum(1)
                    loss = loss + (error / (target.square().flatten(1).sum(1) + 1e-8)).sum()
            (x.grad,) = torch.autograd.grad(loss, x)
            optimizer.step()
            with torch.no_grad():
                x.clamp_(0, 1)
        student.train()
        student.requires_grad_(True)
        self.images = x.detach()
        return self.images.clone()


class Bank:
    """Crops with their teachers' features in float16; the oldest are replaced first."""

    def __init__(self, teachers: Teachers, size: int) -> None:
        self.teachers = teachers
        self.size = size
        self.images: list[Tensor] = []
        self.features: list[dict[str, Tensor]] = []
        self.next = 0

    def add(self, images: Tensor) -> None:
        """Take (B, 3, CROP, CROP) in; the bank never holds more than `size`."""
        features = {name: f.to(torch.float16) for name, f in self.teachers(images).items()}
        for i, image in enumerate(images):
            entry = {name: f[i].clone() for name, f in features.items()}
            if len(self.images) < self.size:
                self.images.append(image.clone())
                self.features.append(entry)
            else:
                self.images[self.next], self.features[self.next] = image.clone(), entry
                self.next = (self.next + 1) % self.size

    def draw(self, rng: np.random.Generator, count: int) -> tuple[Tensor, dict[str, Tensor]]:
        """A random batch of images and the teachers' features of it, in float32."""
        chosen = rng.choice(len(self.images), count, replace=False)
        images = torch.stack([self.images[i] for i in chosen])
        return images, {name: torch.stack([self.features[i][name] for i in chosen]).float() for name in NAMES}


def alignment(student: Tensor, teacher: Tensor) -> Tensor:
    """Centred kernel alignment of two sets of features, (n, C) and (n, D): a scalar in [0, 1]."""
    student, teacher = student - student.mean(0), teacher - teacher.mean(0)
    cross = (student.T @ teacher).square().sum()
    return cross / ((student.T @ student).norm() * (teacher.T @ teacher).norm() + 1e-8)


def distillation(
    student: Student,
    images: Tensor,
    target: Mapping[str, Tensor],
    aux: Mapping[str, Tensor],
    generator: torch.Generator,
) -> tuple[Tensor, dict[str, float]]:
    """The loss of a batch and the unexplained share of variance of each layer."""
    features = student(images)
    loss, scores = torch.zeros(()), {}
    for name in NAMES:
        error = student.maps[name](features[name]) - target[name]
        share = error.square().mean()
        loss = loss + WEIGHT[name] * share
        scores[name] = share.item()
        if name in aux:
            flat = error.permute(0, 2, 3, 1).reshape(-1, error.shape[1])
            loss = loss + 0.5 * (flat @ aux[name].T).square().mean()
        if name in ALIGNED:
            mine = features[name].permute(0, 2, 3, 1).reshape(-1, features[name].shape[1])
            theirs = target[name].permute(0, 2, 3, 1).reshape(-1, target[name].shape[1])
            chosen = torch.randperm(len(mine), generator=generator)[:1024]
            theirs = theirs[chosen]
            if name in aux:
                theirs = theirs @ aux[name].T
            similar = alignment(mine[chosen], theirs)
            loss = loss + 0.5 * (1 - similar)
            scores[f"{name}/similar"] = 1 - similar.item()
    return loss, scores


def held_out(shared: Path, teachers: Teachers) -> tuple[Tensor, dict[str, Tensor]]:
    """Crops of photographs and paintings that are not trained on, at two scales, with their targets."""
    paths = sorted((shared / "images/photos").glob("*"))[::2]
    paths += [shared / "images/paintings" / f"{n}.jpg" for n in ("munch_the_scream", "turner_shipwreck")]
    crops = []
    for path in paths:
        with Image.open(path) as image:
            rgb = image.convert("RGB")
            for side in (CROP * 2, 384):
                left, top = (rgb.width - side) // 2, (rgb.height - side) // 2
                box = (left, top, left + side, top + side)
                crop = rgb.resize((CROP * 2, CROP * 2), Image.Resampling.LANCZOS, box=box)
                crops.append(torch.from_numpy(np.asarray(crop, np.float32).transpose(2, 0, 1) / 255))
    images = torch.stack(crops)
    return images, teachers(images)


@torch.no_grad()
def validate(student: Student, images: Tensor, target: Mapping[str, Tensor]) -> dict[str, float]:
    """R2 of every layer through the learned maps, with running statistics."""
    student.eval()
    scale = {name: (f - f.mean((0, 2, 3), keepdim=True)).square().mean() for name, f in target.items()}
    total = dict.fromkeys(NAMES, 0.0)
    for i in range(0, len(images), 4):
        features = student(images[i : i + 4])
        for name in NAMES:
            error = student.maps[name](features[name]) - target[name][i : i + 4]
            total[name] += float(error.square().mean() / scale[name]) * len(error) / len(images)
    student.train()
    return {name: 1 - value for name, value in total.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("build/slim"))
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--fresh", type=int, default=4, help="new crops a step")
    parser.add_argument("--bank", type=int, default=768)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, default=250, help="steps between validations and checkpoints")
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    torch.set_flush_denormal(True)  # gradients that fade out would slow the CPU down
    generator = torch.Generator().manual_seed(options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    crops = Crops(options.shared / "images/training", options.seed)
    teachers = Teachers(options.shared / "teachers")
    student = Student()
    optimizer = torch.optim.AdamW(student.parameters(), lr=options.rate, weight_decay=1e-4)
    start, checkpoint = 0, options.out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        start = state["step"]
        crops.rng = np.random.default_rng([options.seed, start])
    print("teachers, crops:", {k: len(v) for k, v in crops.images.items()}, flush=True)
    teachers.calibrate(torch.stack([crops.augmented() for _ in range(64)]))
    pool = HalfStylized(crops, 12)
    test_images, test_targets = held_out(options.shared, teachers)
    bank = Bank(teachers, options.bank)
    while len(bank.images) < options.bank // 4:
        bank.add(torch.stack([crops.augmented() for _ in range(8)]))
    began = time.monotonic()
    for step in range(start, options.steps):
        warm = min(1.0, (step + 1) / 200)
        optimizer.param_groups[0]["lr"] = options.rate * warm * 0.5 * (1 + math.cos(math.pi * step / options.steps))
        if step % 20 == 19 and step > 300:
            bank.add(pool.advance(student, steps=5))
        else:
            bank.add(torch.stack([crops.augmented() for _ in range(options.fresh)]))
        images, target = bank.draw(crops.rng, options.batch)
        loss, scores = distillation(student, images, target, teachers.aux, generator)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 5.0)
        optimizer.step()
        if step % 50 == 0:
            rate = (time.monotonic() - began) / (step - start + 1)
            print(f"step {step} loss {loss.item():.3f} {rate:.2f} s/step", flush=True)
        if (step + 1) % options.every == 0 or step + 1 == options.steps:
            r2 = validate(student, test_images, test_targets)
            print("R2", step + 1, {n: round(v, 3) for n, v in r2.items()}, flush=True)
            with (options.out / "log.jsonl").open("a") as log:
                log.write(json.dumps({"step": step + 1, "r2": r2, "train": scores}) + "\n")
            state = {"student": student.state_dict(), "optimizer": optimizer.state_dict(), "step": step + 1}
            torch.save(state, checkpoint.with_suffix(".new"))
            checkpoint.with_suffix(".new").replace(checkpoint)
            half = {k: v.to(torch.float16).contiguous() for k, v in student.folded().items()}
            save_file(half, options.out / "vgg19-slim.safetensors", {"network": "vgg19-slim", "step": str(step + 1)})


if __name__ == "__main__":
    main()
