"""Models by name: the laptop profile's, and any of torchvision's and timm's."""

from __future__ import annotations

import inspect
from functools import lru_cache

import timm
import torch
import torchvision
from torch import nn

from bench.errors import UserError
from bench.models.laptop import LAPTOP
from bench.models.texts.catalogue import find_text_model, list_text_models
from bench.options import make_unknown_error

TIMM = "timm:"


def build(name: str, classes: int, resolution: int, seed: int) -> nn.Module:
    """A model for square inputs with random weights that depend on the seed alone.

    A plain name is a laptop model, else torchvision's, else timm's; "timm:NAME" is timm's.
    The global random state is left as it was. Raises UserError for an unknown name, and for a
    model that cannot be built for the resolution.
    """
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
            if short in _list_timm():
                return _build_timm(short, classes, resolution)
        except (ValueError, TypeError, AssertionError, RuntimeError) as error:
            told = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(
                f"model {name} cannot be built for {classes} classes at {resolution} × "
                f"{resolution} ({told}); change the resolution"
            ) from None
    raise _make_unknown_error(name)


def describe() -> dict[str, str]:
    """A line on each model of the two profiles, and on the rest."""
    lines = {name: (inspect.getdoc(build) or "").splitlines()[0] for name, build in LAPTOP.items()}
    for name in ("resnet50", "vgg11", "mobilenet_v2"):
        lines[name] = "torchvision's; the paper's"
    lines["deit_tiny_patch16_224"] = "timm's; the paper's DeiT-T"
    lines |= {name: model.summary for name, model in list_text_models().items()}
    lines["NAME"] = "any torchvision classification model by name"
    lines["NAME or timm:NAME"] = "any timm model by name"
    return lines


@lru_cache(maxsize=1)
def _list_torchvision() -> frozenset[str]:
    return frozenset(torchvision.models.list_models(module=torchvision.models))


@lru_cache(maxsize=1)
def _list_timm() -> frozenset[str]:
    return frozenset(timm.list_models())


def _build_torchvision(name: str, classes: int, resolution: int) -> nn.Module:
    builder = torchvision.models.get_model_builder(name)
    options: dict[str, object] = {"num_classes": classes}
    if name.startswith("vit_"):
        options["image_size"] = resolution
    if name in ("googlenet", "inception_v3"):
        # Their auxiliary heads return tuples in training and belong to no layer of the forward.
        options |= {"aux_logits": False, "init_weights": True}
    model: nn.Module = builder(weights=None, **options)
    return model


def _build_timm(name: str, classes: int, resolution: int) -> nn.Module:
    # Transformers fix their input at build time; convolutional nets refuse the argument.
    model: nn.Module
    try:
        model = timm.create_model(name, num_classes=classes, img_size=resolution)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        model = timm.create_model(name, num_classes=classes)
    return model


def _make_unknown_error(name: str) -> UserError:
    ours = [*LAPTOP, *list_text_models()]
    known = [*ours, *sorted(_list_torchvision()), *sorted(_list_timm())]
    full = make_unknown_error("model", name.removeprefix(TIMM), known)
    return UserError(
        str(full).partition("; valid:")[0]
        + f"; valid: {', '.join(ours)}, and any name of torchvision.models or timm "
        f"({len(known) - len(ours):,} of them)"
    )
