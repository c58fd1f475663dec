"""Differences between SmartFRZ in the runs of a sweep and SmartFRZ in its paper, as sentences."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import get_utf8_path

if TYPE_CHECKING:
    from bench.spec import Spec

PUBLISHED_ROW = "The row smartfrz (as published)"
PRINTED_FEATURES, PRINTED_LIMIT = "raw", 0.5  # SmartFRZ paper, Section 3.3
PRINTED_PARAMETERS = 1_037_122  # computed from the layer sizes that the paper gives

SpecWithOptions = tuple["Spec", Mapping[str, Any]]  # a run, and all options of its strategy


def list_sources(specs: Iterable[Spec]) -> list[str]:
    """Return the data on which the predictors of the runs were trained, from their files."""
    paths = {spec.paths["predictor"] for spec in specs if "predictor" in spec.contents}
    return sorted({data for path in paths for data in _read_provenance(path).get("data", [])})


def describe_departures(used: Sequence[SpecWithOptions]) -> str:
    """Describe how SmartFRZ in some runs differs from the paper; "" if it does not.

    used: the runs of SmartFRZ with the options of their strategy.
    """
    default = [pair for pair in used if pair[1]["recipe"] == "default"]
    published = [pair for pair in used if pair[1]["recipe"] != "default"]
    sentences = [_describe_runs("SmartFRZ", default), _describe_runs(PUBLISHED_ROW, published)]
    return " ".join(filter(None, sentences))


def _describe_runs(name: str, used: Sequence[SpecWithOptions]) -> str:
    """Describe how SmartFRZ in some runs, which `name` names, differs from the paper."""
    words = _describe_predictors(dict.fromkeys(spec.paths.get("predictor", "") for spec, _ in used))
    if limits := _describe_thresholds(used):
        words.append(f"it freezes at P(freeze) ≥ {limits} instead of by argmax")
    if warmups := sorted({o["warmup"] for _, o in used} - {0}):
        epochs = " or ".join(f"{warmup:g}" for warmup in warmups)
        span = "epoch" if warmups == [1] else f"{epochs} epochs"
        words.append(f"it freezes no layer in the first {span}")
    return f"{name} departs from its paper: {'; '.join(words)} (docs/predictor.md)." * bool(words)


def _describe_thresholds(used: Sequence[SpecWithOptions]) -> str:
    """Return the thresholds other than argmax, by predictor if they differ; "" if none."""
    limits: dict[str, dict[float, None]] = {}  # in the order of the runs
    for spec, options in used:
        path = spec.paths.get("predictor", "")
        calibrated = _read_provenance(path).get("threshold", PRINTED_LIMIT)
        limits.setdefault(Path(path).stem, {})[options["threshold"] or calibrated] = None
    each = {
        name: " or ".join(f"{limit:g}" for limit in found if limit != PRINTED_LIMIT)
        for name, found in limits.items()
    }
    texts = dict.fromkeys(each.values())
    if not any(texts):
        return ""
    if len(texts) > 1:
        text = ", ".join(f"{text or f'{PRINTED_LIMIT:g}'} ({name})" for name, text in each.items())
    else:
        text = next(iter(texts))
    some = any(PRINTED_LIMIT in found and len(found) > 1 for found in limits.values())
    return f"{text}, in some rows," if some else text


def _describe_predictors(paths: Iterable[str]) -> list[str]:
    """Describe how the predictors in some files differ from the paper's predictor."""
    known = [(path, facts) for path in paths if (facts := _read_provenance(path))]
    words = []
    if any(facts["features"] != PRINTED_FEATURES for _, facts in known):
        features = " or ".join(dict.fromkeys(facts["features"] for _, facts in known))
        sizes = " or ".join(f"{n:,}" for n in dict.fromkeys(_count_parameters(p) for p, _ in known))
        words.append(
            f"its predictor reads the feature set {features} instead of raw weights and has "
            f"{sizes} parameters instead of {PRINTED_PARAMETERS:,}"
        )
    optimizers = {_describe_training(facts["recipe"]) for _, facts in known}
    sources = sorted({data for _, facts in known for data in facts["data"]})
    if known and (optimizers != {"sgd"} or sources != ["imagenet"]):
        words.append(
            f"the predictor was trained with {' or '.join(sorted(optimizers))} on "
            f"{', '.join(sources)} instead of with sgd on imagenet"
        )
    rules = dict.fromkeys(
        f"the range of {_describe_values(rule)} of unbiased CKA is below {rule['epsilon']:g}"
        for rule in (facts["rule"] for _, facts in known)
        if rule.get("estimator", "unbiased") != "biased"
    )
    if rules:
        words.append(
            f"a layer is labelled as converged if {' or '.join(rules)}, where the paper uses "
            "biased CKA"
        )
    return words


def _describe_values(rule: Mapping[str, Any]) -> str:
    """Describe the CKA values that a label rule compares."""
    if rule.get("kind", "stable") == "settled":
        return "this value and all later values"
    return f"{rule['k']} values"


def _describe_training(recipe: Mapping[str, Any]) -> str:
    """Describe how a predictor was trained.

    The text names the optimizer, and the settings that the paper does not name.
    """
    words = [
        "one cycle of the learning rate" * (recipe.get("schedule", "one_cycle") == "one_cycle"),
        "clipped gradients" * bool(recipe.get("clip", 1.0)),
        "standardised tokens" * recipe["standardise"],
    ]
    return ", ".join([recipe["optimizer"], *filter(None, words)])


def _count_parameters(path: str) -> int:
    """Return the number of parameters in a predictor file, without its input standardisation."""
    from safetensors import safe_open

    with get_utf8_path(path) as place, safe_open(place, framework="numpy") as file:
        names = set(file.keys()) - {"scale", "shift"}
        return sum(math.prod(file.get_slice(name).get_shape()) for name in names)


@cache
def _read_provenance(path: str) -> dict[str, Any]:
    """Return the provenance in a predictor file; empty if it is not a predictor file."""
    from safetensors import SafetensorError, safe_open

    try:
        with get_utf8_path(path) as place, safe_open(place, framework="numpy") as file:
            provenance: dict[str, Any] = json.loads((file.metadata() or {}).get("provenance", "{}"))
    except (SafetensorError, OSError):
        return {}
    return provenance
