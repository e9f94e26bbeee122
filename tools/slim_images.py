"""The images of the distillation: augmented crops, half-stylized images, and the held-out set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from slim_networks import Student
from textures import texture
from torch import Tensor

CROP = 96
STYLE_LAYERS = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")


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
        """An augmented crop, as the student is trained on: (3, CROP, CROP)."""
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
    """Images between photograph and painting, optimised with the student in its present state."""

    def __init__(self, crops: Crops, count: int) -> None:
        self.crops = crops
        self.contents = torch.stack([crops.plain("photo") for _ in range(count)])
        self.images = self.contents.clone()
        self.styles = torch.stack([crops.plain("style") for _ in range(count)])

    def advance(self, student: Student, *, steps: int) -> Tensor:
        """Replace a sixth of the images, take `steps` of Adam on all, and return a copy on the student's device."""
        rng, device = self.crops.rng, next(student.parameters()).device
        for i in np.flatnonzero(rng.uniform(size=len(self.images)) < 1 / 6):
            self.contents[i] = self.crops.plain(str(rng.choice(["photo", "stylized"])))
            self.styles[i] = self.crops.plain("style")
            noise = torch.from_numpy(rng.normal(0, 0.15, self.contents[i].shape).astype(np.float32))
            self.images[i] = (self.contents[i] + noise * float(rng.choice([0, 0, 1]))).clamp(0, 1)
        student.eval()
        student.requires_grad_(False)
        with torch.no_grad():
            targets = {
                name: mean_covariance(f) for name, f in student(self.styles.to(device)).items() if name in STYLE_LAYERS
            }
            content = student(self.contents.to(device))["conv4_2"]
        x = self.images.to(device, copy=True).requires_grad_()
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
        self.images = x.detach().cpu()
        return x.detach()


def held_out(shared: Path) -> Tensor:
    """Crops of held-out photographs and paintings, at two scales: (B, 3, 2 CROP, 2 CROP)."""
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
    return torch.stack(crops)
