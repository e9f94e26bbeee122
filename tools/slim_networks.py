"""The networks of the distillation: the two frozen teachers, and the student under training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from hires_nst.backbones.description import Pooling
from hires_nst.backbones.registry import VGG19_SLIM
from hires_nst.backbones.vgg import VGG, pooled

Blocks = tuple[tuple[int, ...], ...]

MEAN, STD = 0.45, 0.225
NAMES = VGG19_SLIM.layer_names
PARTS = ("weight", "bias")
ENCODER = "vgg19_16x_encoder.safetensors"
FIRST = "conv1_1"


def network(
    name: str,
    weights: Mapping[str, Tensor],
    *,
    mean: Sequence[float],
    std: float,
    pooling: Pooling,
    content_scale: float = 1.0,
) -> VGG:
    """A VGG with the widths of the weights."""
    widths = {key[:7]: len(value) for key, value in weights.items() if key.endswith(".weight")}
    blocks = tuple(tuple(width for key, width in widths.items() if key[4] == block) for block in "12345")
    red, green, blue = mean
    backbone = dataclasses.replace(
        VGG19_SLIM,
        name=name,
        blocks=tuple(block for block in blocks if block),
        mean=(red, green, blue),
        std=(std,) * 3,
        pooling=pooling,
        content_scale=content_scale,
    )
    return VGG(backbone, weights, pooling=pooling)


def original_vgg19(folder: Path) -> VGG:
    """The original VGG-19 (Simonyan and Zisserman 2014) up to conv3_4."""
    tensors = load_file(folder / "vgg19_caffe_conv1_to_conv3.safetensors")
    indices = dict(zip(NAMES[:8], (0, 2, 5, 7, 10, 12, 14, 16), strict=True))
    weights = {f"{name}.{part}": tensors[f"features.{i}.{part}"] for name, i in indices.items() for part in PARTS}
    centre = [value / 255 for value in (123.68, 116.779, 103.939)]
    return network("vgg19", weights, mean=centre, std=1 / 255, pooling="max")


def encoder_16x(folder: Path) -> VGG:
    """The 16x encoder (Wang et al. 2020) up to conv5_1, its 1x1 preprocessing folded into the first convolution."""
    tensors = load_file(folder / ENCODER)
    weights = {f"{name}.{part}": tensors[f"conv{name[4]}{name[6]}.{part}"] for name in NAMES for part in PARTS}
    first = weights["conv1_1.weight"].sum((2, 3))
    weights["conv1_1.bias"] = weights["conv1_1.bias"] + first @ tensors["conv0.bias"]
    weights["conv1_1.weight"] = torch.einsum(
        "oikl,ij->ojkl", weights["conv1_1.weight"], tensors["conv0.weight"][..., 0, 0]
    )
    return network("16x encoder", weights, mean=(0, 0, 0), std=1.0, pooling="max")


def student(name: str, file: Path, *, pooling: Pooling = VGG19_SLIM.pooling) -> VGG:
    """A trained student of any widths; its names are this project's, or `c.NM.weight`."""
    tensors = load_file(file)
    weights = {(f"conv{k[2]}_{k[3]}{k[4:]}" if k.startswith("c.") else k): v.float() for k, v in tensors.items()}
    ordered = {f"{layer}.{part}": weights[f"{layer}.{part}"] for layer in NAMES for part in PARTS}
    scale = VGG19_SLIM.content_scale
    return network(name, ordered, mean=(MEAN,) * 3, std=STD, pooling=pooling, content_scale=scale)


def most_telling(inputs: Tensor, goal: Tensor, count: int) -> list[int]:
    """Indices of the `count` of the C inputs that explain the goal best, dropping the least useful one at a time.

    Args:
        inputs, goal: (n, C) and (n, D).
    """
    inputs, goal = (inputs - inputs.mean(0)).double(), (goal - goal.mean(0)).double()
    square, cross = ridged(inputs.T @ inputs, 1e-4), inputs.T @ goal

    def explained(kept: list[int]) -> float:
        return float((cross[kept] * torch.linalg.solve(square[kept][:, kept], cross[kept])).sum())

    kept = list(range(inputs.shape[1]))
    while len(kept) > count:
        kept.remove(max(kept, key=lambda channel: explained([other for other in kept if other != channel])))
    return kept


def unexplained(inputs: Tensor, goal: Tensor) -> Tensor:
    """The share of the goal's variance that a linear map of the inputs leaves, differentiable: 1 - R2.

    Args:
        inputs, goal: (n, C) and (n, D).
    """
    inputs, goal = (inputs - inputs.mean(0)).double(), (goal - goal.mean(0)).double()
    square, cross = ridged(inputs.T @ inputs, 1e-5), inputs.T @ goal
    left: Tensor = 1 - (cross * torch.linalg.solve(square, cross)).sum() / goal.square().sum()
    return left


def fit_first(
    weight: Tensor, bias: Tensor, images: Tensor, target: Tensor, *, steps: int = 800, batch: int = 8192
) -> tuple[Tensor, Tensor]:
    """The first layer alone, for the most that a linear map of it can tell of the teacher's: seconds, not hours.

    Learned with the others it would give way to them, and it is the widest in pixels and so in memory.

    Args:
        weight, bias: (C, 3, 3, 3) and (C,), to start from.
        images: (B, 3, h, w).
        target: the teacher's activations there, (B, D, h, w).
    """
    generator = torch.Generator().manual_seed(0)
    padded = F.pad((images - MEAN) / STD, (1, 1, 1, 1), mode="replicate")
    patches = F.unfold(padded, 3).transpose(1, 2).flatten(0, 1)
    goal = target.permute(0, 2, 3, 1).flatten(0, 2)
    matrix, bias = weight.flatten(1).clone().requires_grad_(), bias.clone().requires_grad_()
    method = torch.optim.Adam([matrix, bias], lr=1e-2)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(method, steps)
    for _ in range(steps):
        chosen = torch.randint(len(patches), (batch,), generator=generator).to(patches.device)
        loss = unexplained(F.relu(patches[chosen] @ matrix.T + bias), goal[chosen])
        method.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        method.step()
        decay.step()
    return matrix.detach().view_as(weight), bias.detach()


@torch.no_grad()
def narrowed(
    weights: Mapping[str, Tensor], blocks: Blocks, images: Tensor, target: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """A student's weights with at most the channels of `blocks`: those that explain most of the teachers' activations.

    The next layer gets the part of the dropped channels from the remaining ones, by linear regression.

    Args:
        images: (B, 3, h, w).
        target: the teachers' activations there.
    """
    result = {name: tensor.float() for name, tensor in weights.items()}
    widths = dict(zip(NAMES, (width for block in blocks for width in block), strict=True))
    ordered = {f"{layer}.{part}": result[f"{layer}.{part}"] for layer in NAMES for part in PARTS}
    features = network("student", ordered, mean=(MEAN,) * 3, std=STD, pooling="max")(images, NAMES)
    for name, following in zip(NAMES, (*NAMES[1:], None), strict=True):
        mine = features[name].permute(0, 2, 3, 1).flatten(0, 2).double()
        if mine.shape[1] <= widths[name]:
            continue
        kept = most_telling(mine, target[name].permute(0, 2, 3, 1).flatten(0, 2), widths[name])
        for part in PARTS:
            result[f"{name}.{part}"] = result[f"{name}.{part}"][kept]
        if following is not None:
            matrix, constant = regression(mine[:, kept], mine)
            weight = result[f"{following}.weight"].double()
            result[f"{following}.weight"] = torch.einsum("oihw,ki->okhw", weight, matrix).float()
            result[f"{following}.bias"] = result[f"{following}.bias"] + (weight.sum((2, 3)) @ constant).float()
    return result


def ridged(square: Tensor, share: float) -> Tensor:
    """A symmetric matrix plus `share` of the mean of its diagonal on the diagonal, so that it can be inverted."""
    return square + share * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype, device=square.device)


def regression(inputs: Tensor, goal: Tensor, *, ridge: float = 1e-5) -> tuple[Tensor, Tensor]:
    """Matrix (C, D) and constant (D,) of the ridge regression from inputs (n, C) to goal (n, D), in float64."""
    inputs, goal = inputs.double(), goal.double()
    mean_in, mean_out = inputs.mean(0), goal.mean(0)
    centred = inputs - mean_in
    matrix = torch.linalg.solve(ridged(centred.T @ centred, ridge), centred.T @ (goal - mean_out))
    return matrix, mean_out - mean_in @ matrix


class Teachers:
    """The two frozen teachers; `aux` holds the 1x1 maps of the second one back to VGG-19's channels, by layer."""

    def __init__(self, folder: Path) -> None:
        self.vgg, self.encoder = original_vgg19(folder), encoder_16x(folder)
        tensors = load_file(folder / ENCODER)
        self.aux = {name: tensors[f"conv{name[4]}1_aux.weight"].flatten(1) for name in ("conv4_1", "conv5_1")}
        self.unit = dict.fromkeys(NAMES, 1.0)
        self.channels = {n: (self.vgg if n in NAMES[:8] else self.encoder).backbone.channels(n) for n in NAMES}

    def to(self, device: torch.device) -> Teachers:
        """Move all to a device."""
        self.vgg, self.encoder = self.vgg.to(device), self.encoder.to(device)
        self.aux = {name: weight.to(device) for name, weight in self.aux.items()}
        return self

    def calibrate(self, images: Tensor) -> None:
        """From now on divide each layer's activations (and aux maps) by their standard deviation on these images."""
        for name, f in self(images).items():
            flat = f.transpose(0, 1).flatten(1)
            flat = flat - flat.mean(1, keepdim=True)
            self.unit[name] = float(flat.square().mean().sqrt())
            if name in self.aux:
                self.aux[name] = self.aux[name] / (self.aux[name] @ (flat / self.unit[name])).square().mean().sqrt()

    @torch.no_grad()
    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """The targets of the student: VGG-19's activations up to conv3_4, the encoder's from conv4_1 on."""
        features = self.vgg(images, NAMES[:8]) | self.encoder(images, NAMES[8:])
        return {name: f / self.unit[name] for name, f in features.items()}


class Student(nn.Module):
    """The network under training: convolution, batch normalisation (not in the first block), rectifier.

    `maps` are 1x1 maps from its activations to the teachers', for the loss only.

    Args:
        blocks: output channels of each convolution.
        goals: the teachers' channels, by layer.
        pooling: between the blocks.
    """

    def __init__(self, blocks: Blocks, goals: Mapping[str, int], *, pooling: Pooling = "max") -> None:
        super().__init__()
        self.pooling = pooling
        self.convolutions, self.norms, self.maps = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        channels = 3
        for block, widths in enumerate(blocks, 1):
            for index, width in enumerate(widths, 1):
                name = f"conv{block}_{index}"
                conv = nn.Conv2d(channels, width, 3)
                nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
                nn.init.zeros_(conv.get_parameter("bias"))
                self.convolutions[name] = conv
                if block > 1:
                    self.norms[name] = nn.BatchNorm2d(width, momentum=0.02)
                self.maps[name] = nn.Linear(width, goals[name])
                channels = width
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Activations of every layer, for (B, 3, h, w) in [0, 1]."""
        x = ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        features = {}
        for name, conv in self.convolutions.items():
            if name.endswith("_1") and name != "conv1_1":
                x = pooled(x, self.pooling)
            x = conv(F.pad(x, (1, 1, 1, 1), mode="replicate"))
            if name in self.norms:
                x = self.norms[name](x)
            features[name] = x = F.relu(x)
        return features

    @torch.no_grad()
    def grow_from(self, weights: Mapping[str, Tensor], images: Tensor) -> None:
        """Start as a trained network of at most these widths, which computes the same function.

        New channels have random filters, and the next layer ignores them at first. Batch normalisation is set to the
        statistics of `images`, so that it changes nothing.

        Args:
            weights: `convN_M.weight` and `convN_M.bias`, without batch normalisation.
        """
        x = ((images - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        for name, conv in self.convolutions.items():
            weight, bias = weights[f"{name}.weight"].float(), weights[f"{name}.bias"].float()
            outputs, inputs = weight.shape[:2]
            my_weight, my_bias = (conv.get_parameter(part) for part in PARTS)
            my_weight[:outputs, inputs:] = 0
            my_weight[:outputs, :inputs], my_bias[:outputs] = weight, bias
            if name.endswith("_1") and name != "conv1_1":
                x = pooled(x, self.pooling)
            x = conv(F.pad(x, (1, 1, 1, 1), mode="replicate"))
            if name in self.norms:
                norm = self.norms[name]
                assert isinstance(norm, nn.BatchNorm2d)
                mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
                mean.copy_(x.mean((0, 2, 3)))
                variance.copy_(x.var((0, 2, 3), correction=0))
                norm.weight.copy_((variance + norm.eps).sqrt())
                norm.bias.copy_(mean)
            x = F.relu(x)

    @property
    def trained(self) -> list[nn.Parameter]:
        """The trained parameters: all but those of the first layer."""
        fixed = f"convolutions.{FIRST}."
        return [parameter for name, parameter in self.named_parameters() if not name.startswith(fixed)]

    def fit_first(self, images: Tensor, target: Tensor) -> None:
        """Fit the first layer, and adapt the second one, so that its input is as before as far as possible.

        Args:
            target: the teacher's activations of the first layer on these images.
        """
        first, second = (self.convolutions[name] for name in NAMES[:2])
        padded = F.pad((images - MEAN) / STD, (1, 1, 1, 1), mode="replicate")
        with torch.no_grad():
            before = F.relu(first(padded)).permute(0, 2, 3, 1).flatten(0, 2)
        weight, bias = (first.get_parameter(part) for part in PARTS)
        next_weight, next_bias = (second.get_parameter(part) for part in PARTS)
        fitted_weight, fitted_bias = fit_first(weight.detach(), bias.detach(), images, target)
        with torch.no_grad():
            weight.copy_(fitted_weight)
            bias.copy_(fitted_bias)
            matrix, constant = regression(F.relu(first(padded)).permute(0, 2, 3, 1).flatten(0, 2), before)
            old = next_weight.double()
            next_weight.copy_(torch.einsum("oihw,ki->okhw", old, matrix))
            next_bias.add_(old.sum((2, 3)) @ constant)

    @torch.no_grad()
    def fit_maps(self, images: Tensor, target: Mapping[str, Tensor]) -> None:
        """Set the maps to the ridge regression from the activations to the teachers'."""
        self.eval()
        for name, f in self(images).items():
            theirs = target[name].permute(0, 2, 3, 1).flatten(0, 2)
            matrix, constant = regression(f.permute(0, 2, 3, 1).flatten(0, 2), theirs, ridge=1e-3)
            self.maps[name].get_parameter("weight").copy_(matrix.T)
            self.maps[name].get_parameter("bias").copy_(constant)
        self.train()

    @torch.no_grad()
    def folded(self) -> dict[str, Tensor]:
        """Plain weights and biases with the batch normalisation folded in, `convN_M.weight` and `convN_M.bias`."""
        weights = {}
        for name, conv in self.convolutions.items():
            weight, bias = (conv.get_parameter(part).clone() for part in PARTS)
            if name in self.norms:
                norm = self.norms[name]
                assert isinstance(norm, nn.BatchNorm2d)
                mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
                gain = norm.weight / (variance + norm.eps).sqrt()
                weight, bias = weight * gain.view(-1, 1, 1, 1), (bias - mean) * gain + norm.bias
            weights[f"{name}.weight"], weights[f"{name}.bias"] = weight.contiguous(), bias
        return weights
