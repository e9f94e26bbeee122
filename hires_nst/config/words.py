"""The words of other programs of this kind, and of everyday language, for what is set here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_WORDS = {
    "output.long_edge": "size image_size img_size end_scale max_size max_scale output_size resolution width height",
    "output.print.paper": "print paper",
    "output.print.bleed_mm": "bleed",
    "output.scale": "upscale",
    "output.quality": "jpeg_quality",
    "styles.image": "style style_image style_images style_img style_path style_dir painting paintings",
    "styles.scale": "style_scale style_scale_fac",
    "styles.size": "style_size",
    "styles.weight": "style_weights style_blend_weights style_interpolation_weights",
    "styles.mask": "masks style_mask style_masks content_seg semantic_mask semantic_masks",
    "regions.content": "content_weight_map content_map",
    "regions.protect": "face faces protect_faces",
    "loss.content_weight": "content_loss_weight alpha",
    "loss.style_weight": "style_weight style_loss_weight beta",
    "loss.tv_weight": "tv_weight total_variation_weight",
    "loss.content_layers": "content_layers content_layer",
    "loss.style_layers": "style_layers style_layer",
    "loss.balance": "normalize_gradients gradient_normalization",
    "levels.coarse_steps": "iterations num_iterations initial_iterations max_iter max_iterations n_iter num_iter iter "
    "num_steps steps epochs",
    "levels.min_size": "min_scale start_scale",
    "colors.mode": "colours color colour color_mode color_transfer color_transfer_mode",
    "colors.strength": "colour_strength colors_strength colours_strength",
    "init.kind": "init_image init_img init_method initialization",
    "optimizer.name": "optimiser",
    "optimizer.history": "lbfgs_num_correction",
    "optimizer.learning_rate": "learning_rate lr step_size",
    "model.name": "model_file model_type network backbone proto_file",
    "model.weights": "weights model_path vgg_path checkpoint_path",
    "tiles.size": "tile tilesize",
    "tiles.overlap": "tile_overlap",
    "runtime.device": "gpu gpus gpu_id use_gpu cuda devices backend",
    "runtime.seed": "random_seed",
    "runtime.precision": "fp16 half amp",
    "runtime.memory": "memory_fraction max_memory memory_limit gpu_memory vram",
    "checkpoint.every": "save_iter save_every save_interval",
}
KEYS: Mapping[str, str] = MappingProxyType({word: key for key, words in _WORDS.items() for word in words.split()})
"""The key, such as `output.long_edge`, for each word, in lower case with underscores."""

_PHOTOGRAPH = "the photograph and then the paintings are given as they are: hires-nst stylize photo.jpg painting.jpg"
_COLOURS = "--colors photo puts the photograph's colours back; match and luminance are other ways (docs/choosing.md)"
_PROGRESS = "progress is shown all the time; add --json for every step"
_CPU = "write --device cpu"
_FORCE = "an existing file is replaced with --overwrite"
_TILES = "a picture is painted in tiles, on one device; leave it out"
OTHERWISE: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("content", "content_image", "content_img", "content_path", "input", "in_path"), _PHOTOGRAPH),
        **dict.fromkeys(("original_colors", "original_colours", "preserve_color", "preserve_colors"), _COLOURS),
        **dict.fromkeys(("color_control", "colorize", "no_colorize"), _COLOURS),
        **dict.fromkeys(("cpu", "no_gpu", "no_cuda"), _CPU),
        **dict.fromkeys(("force", "yes"), _FORCE),
        **dict.fromkeys(("print_iter", "print_interval", "log_interval", "verbose"), _PROGRESS),
        "normalize_weights": "losses are normalised here; leave it out",
        **dict.fromkeys(("multidevice_strategy", "multigpu_strategy", "cudnn_autotune", "disable_check"), _TILES),
        **dict.fromkeys(
            ("output_image", "output_img", "output_path", "out_path", "output_dir", "out"),
            "the result is --output, or -o: -o result.png",
        ),
    }
)
"""What to do instead of the words for which there is no key."""
