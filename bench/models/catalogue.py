"""Models by name: models of the laptop profile, BERT, and any model of torchvision or timm."""

from __future__ import annotations

import inspect
import re
from functools import lru_cache

import timm
import torch
import torchvision
from torch import nn

from bench.errors import UserError, summarise_error
from bench.models.kinds import VISION_TRANSFORMER, find_kind
from bench.models.laptop import LAPTOP
from bench.models.texts.catalogue import find_text_model, list_text_models
from bench.options import make_unknown_error

TIMM = "timm:"
HUB_NAME = re.compile(r"(?:timm:)?hf[-_]hub:(?:[^/]+/)?(.+)")  # as timm.create_model accepts it
LAPTOP_SIDE = 24  # resolution of the laptop profile, in pixels


def build(name: str, classes: int, resolution: int, seed: int) -> nn.Module:
    """Return a model with random weights that depend only on the seed.

    resolution: side of the square images in pixels; text models ignore it.
    A plain name is looked up first among the project's own models, then in torchvision, then in
    timm. "timm:NAME" is looked up in timm only. "NAME.TAG" is a timm model whose tag selects the
    weights for `--weights pretrained`. The global random state does not change.
    Raises UserError for an unknown name, or if the model cannot be built for the resolution. Raises
    UserError if the patches of a transformer leave out pixels at the edge.
    """
    model = _build(name, classes, resolution, seed)
    _check_patches(name, model, resolution)
    return model


def _build(name: str, classes: int, resolution: int, seed: int) -> nn.Module:
    short = name.removeprefix(TIMM)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            if text_model := find_text_model(name):
                return text_model.build(classes)
            if name in LAPTOP:
                return LAPTOP[name](classes, resolution)
            if name in _list_torchvision():
                return _build_torchvision(name, classes, resolution)
            if is_timm(short):
                return _build_timm(short, classes, resolution)
        except (ValueError, TypeError, AssertionError, RuntimeError) as error:
            reason = summarise_error(error)
            raise UserError(
                f"cannot build model {name} for {classes} classes at {resolution} × {resolution} "
                f"({reason}); {describe_size(name)}"
            ) from None
    raise _make_unknown_error(name)


def _check_patches(name: str, model: nn.Module, resolution: int) -> None:
    """Raise UserError if the patches of a transformer do not cover an image to its edge.

    The patches are those of the first convolution. Convolutional networks are accepted, because by
    design they leave out few pixels at the edge. A transformer may leave out half of an image.
    """
    path, first = next(
        ((p, m) for p, m in model.named_modules() if isinstance(m, nn.Conv2d)), ("", None)
    )
    # Subclasses of Conv2d pad an image to fit, and so does timm's option dynamic_img_pad.
    if type(first) is not nn.Conv2d or first.padding != (0, 0):
        return
    parents = [model.get_submodule(path[:i]) for i, c in enumerate(path) if c == "."]
    embeds = any("Embed" in type(parent).__name__ for parent in parents)  # also in MLP-Mixers
    pads = any(getattr(parent, "dynamic_img_pad", False) for parent in parents)
    if pads or not (embeds or find_kind(name) == VISION_TRANSFORMER):
        return
    patch, step = first.kernel_size[0], first.stride[0]
    left = (resolution - patch) % step
    if resolution > patch and left:
        raise UserError(
            f"model {name}: patches of {patch} × {patch} pixels do not cover images of "
            f"{resolution} × {resolution}, so the last rows and columns would be left out (number "
            f"of each: {left}); pass --resolution {resolution - left} or "
            f"{resolution - left + step}"
        )


def describe_size(name: str) -> str:
    """Return the end of a message: what an image model was built for, and the option to pass."""
    if name in LAPTOP:
        side, least = LAPTOP_SIDE, 0
    elif name in _list_torchvision():
        weights = torchvision.models.get_model_weights(name).DEFAULT
        side, least = weights.transforms().crop_size[0], max(weights.meta.get("min_size", (0,)))
    elif config := timm.get_pretrained_cfg(name.removeprefix(TIMM)):
        channels, side = config.input_size[:2]
        least = (config.min_input_size or (0, 0))[1]
        if channels != 3:
            return f"it was built for {channels} channels instead of 3; choose another model"
    else:
        return "change --resolution"
    smallest = f" and needs at least {least} × {least}" if least > 1 else ""
    return f"it was built for {side} × {side}{smallest}; pass --resolution {side}"


def describe() -> dict[str, str]:
    """Return one line per model of the laptop and paper profiles, and lines for all other models.

    The lines of laptop models are the first lines of their builders' docstrings.
    """
    lines = {name: (inspect.getdoc(build) or "").splitlines()[0] for name, build in LAPTOP.items()}
    for name in ("resnet50", "vgg11", "mobilenet_v2"):
        lines[name] = "from torchvision; a model of the paper"
    lines["deit_tiny_patch16_224"] = "from timm; the paper's DeiT-T"
    lines |= {name: model.summary for name, model in list_text_models().items()}
    lines["hf:NAME or hf:FOLDER"] = "any sequence classifier of transformers, with its tokenizer"
    lines["lora:NAME"] = "a text model of this list with LoRA adapters; needs peft"
    lines["NAME"] = "any other torchvision classification model"
    lines["NAME or timm:NAME"] = "any other timm model; NAME.TAG selects its published weights"
    return lines


def is_torchvision(name: str) -> bool:
    """Return whether a name means a model of torchvision."""
    return name not in LAPTOP and name in _list_torchvision()


def is_timm(name: str) -> bool:
    """Return whether timm has a model of this name, with or without a tag of published weights."""
    short = name.removeprefix(TIMM)
    return short in _list_timm() or short in _list_tagged()


@lru_cache(maxsize=1)
def _list_torchvision() -> frozenset[str]:
    return frozenset(torchvision.models.list_models(module=torchvision.models))


@lru_cache(maxsize=1)
def _list_timm() -> frozenset[str]:
    return frozenset(timm.list_models())


@lru_cache(maxsize=1)
def _list_tagged() -> frozenset[str]:
    return frozenset(timm.list_pretrained())


def _build_torchvision(name: str, classes: int, resolution: int) -> nn.Module:
    builder = torchvision.models.get_model_builder(name)
    options: dict[str, object] = {"num_classes": classes}
    if name.startswith("vit_"):
        options["image_size"] = resolution
    if name in ("googlenet", "inception_v3"):
        # With auxiliary heads, they would return tuples in train mode.
        options |= {"aux_logits": False, "init_weights": True}
    model: nn.Module = builder(weights=None, **options)
    return model


def _build_timm(name: str, classes: int, resolution: int) -> nn.Module:
    # Transformers need the image size when they are built; convolutional networks do not accept it.
    model: nn.Module
    try:
        model = timm.create_model(name, num_classes=classes, img_size=resolution)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        model = timm.create_model(name, num_classes=classes)
    return model


def _make_unknown_error(name: str) -> UserError:
    architecture, dot, _ = name.removeprefix(TIMM).partition(".")
    if match := HUB_NAME.fullmatch(name):
        known = match[1] if is_timm(match[1]) else "NAME and --weights FILE.safetensors"
        return UserError(
            f"model {name}: an address on the Hugging Face hub is not accepted for timm models; "
            f"give {TIMM}{known}"
        )
    if dot and architecture in _list_timm():
        tags = sorted(each for each in _list_tagged() if each.startswith(f"{architecture}."))
        advice = f"give one of {', '.join(tags)}, or omit" if tags else "it has no tags, so omit"
        return UserError(
            f"model {name}: timm has no weights of {architecture} with this tag; {advice} the tag"
        )
    ours = [*LAPTOP, *list_text_models()]
    known = [*ours, *sorted(_list_torchvision()), *sorted(_list_timm())]
    full = make_unknown_error("model", name.removeprefix(TIMM), known)
    return UserError(
        str(full).partition("; valid:")[0]
        + f"; valid: {', '.join(ours)}, hf:NAME, and any of {len(known) - len(ours):,} models of "
        "torchvision.models or timm"
    )
