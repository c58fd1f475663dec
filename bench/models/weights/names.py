"""Translation of the tensor names of a weights file into those of a model.

Names change if a model is wrapped (DataParallel, torch.compile, Lightning), and between versions of
a library. The libraries translate old names when they load their own published files. This module
uses the translations of the libraries for local files too.
"""

from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any

import timm
import torch
from torch import Tensor, nn

from bench.models.catalogue import TIMM, is_torchvision
from bench.models.texts.catalogue import find_text_model
from bench.models.weights.files import is_under
from bench.models.weights.positions import needs_resampling

COUNTER = "num_batches_tracked"  # step counter of BatchNorm, absent from many files
# Name parts that wrappers insert: DataParallel, torch.compile, FSDP, checkpointing.
WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Buffers that other tools add to a model: updates of torch's AveragedModel, operations counted by
# thop. They are no weights.
COUNTERS = ("n_averaged", "total_ops", "total_params")
# Heads that torchvision builds for training only, and drops after it has loaded published weights.
AUXILIARY = {"googlenet": ("aux1", "aux2"), "inception_v3": ("AuxLogits",)}
# torchvision's _load_state_dict of DenseNet: names had a dot before torch 0.4.
DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")

State = Mapping[str, Tensor]


def translate_names(
    given: State, model: nn.Module, name: str, heads: Sequence[str]
) -> tuple[State, str]:
    """Return the tensors under the names of the model, and the name parts that were dropped.

    Several translations are tried, and their tensors are compared with those of the model. The
    first translation without a mismatch is used, otherwise the translation with the fewest
    mismatches.
    heads: names of the modules that this comparison leaves out.
    """
    own = model.state_dict()
    given = {k: v for k, v in given.items() if k in own or k.rpartition(".")[2] not in COUNTERS}
    one = {k for k, v in given.items() if k.endswith(COUNTER) and v.shape == (1,)}
    given = {k: v.reshape(()) if k in one else v for k, v in given.items()}
    best: tuple[int, State, str] | None = None
    for state, dropped in _list_translations(given, model, name, heads):
        faults = _count_mismatches(state, own, heads)
        if best is None or faults < best[0]:
            best = faults, state, dropped
        if not faults:
            break
    assert best is not None  # the first candidate is the file itself
    return best[1], best[2]


def list_head_parents(own: State, heads: Sequence[str]) -> tuple[str, ...]:
    """Return the modules that directly contain a head, such as `classifier` for `classifier.1`.

    Users replace such a module by a head of their own. If a module contains the whole model, it is
    left out.
    """
    parents = sorted({head.rpartition(".")[0] for head in heads} - {""})
    return tuple(p for p in parents if not all(is_under(key, [p]) for key in own))


def _list_translations(
    given: State, model: nn.Module, name: str, heads: Sequence[str]
) -> Iterator[tuple[State, str]]:
    text_model = find_text_model(name)
    translate: Callable[[State], State] = text_model.rename_weights if text_model else dict
    yield translate(given), ""
    plain, dropped = _drop_wrappers(given, model, heads)
    if dropped:
        yield translate(plain), dropped
    if not text_model:
        for state, parts in ((given, ""), (plain, dropped)):
            renamed = _translate_by_library(state, model, name)
            yield renamed, parts
            yield _translate_by_modules(renamed, model, heads), parts


def _count_mismatches(state: State, own: State, heads: Sequence[str]) -> int:
    """Return the number of missing and unknown names and of wrong shapes, outside the heads."""
    fresh = (*heads, *list_head_parents(own, heads))
    body = {key for key in own if not is_under(key, heads)}
    return (
        sum(not key.endswith(COUNTER) for key in body - state.keys())
        + sum(not is_under(key, fresh) for key in state.keys() - own.keys())
        + sum(
            state[key].shape != own[key].shape and not needs_resampling(key, state[key], own[key])
            for key in body & state.keys()
        )
    )


def _drop_wrappers(given: State, model: nn.Module, heads: Sequence[str]) -> tuple[State, str]:
    """Return the tensors without the name parts of wrappers, and what was dropped.

    Each part of `WRAPPERS` is dropped from all names, unless the model has such a name itself. In a
    second step, the prefix that `_find_prefix` returns is dropped. Tensors without this prefix are
    left out, such as the head of the wrapping module or the weights of a loss.
    """
    own = model.state_dict()
    parts = {part for key in own for part in key.split(".")}
    barred = [part for part in WRAPPERS if part not in parts]
    names = {key: key.split(".") for key in given}
    found = [part for part in barred if any(part in each[:-1] for each in names.values())]
    names = {
        key: [part for part in each[:-1] if part not in found] + each[-1:]
        for key, each in names.items()
    }
    prefix = _find_prefix(names.values(), own, heads)
    found += prefix
    depth = len(prefix)
    inside = {k: each[depth:] for k, each in names.items() if each[:depth] == prefix}
    outside = sorted(names.keys() - inside.keys())
    plain = {".".join(each): given[key] for key, each in inside.items()}
    if not found or len(plain) < len(inside):  # two tensors may not get one name
        return given, ""
    also = f" (left out {', '.join(outside[:4])}{' …' * (len(outside) > 4)})" if outside else ""
    return plain, ", ".join(f"{part}." for part in found) + also


def _find_prefix(names: Collection[list[str]], own: State, heads: Sequence[str]) -> list[str]:
    """Return the names of the modules that wrap the model in a file, or [] if they are uncertain.

    names: tensor names of the file, split at the dots.
    own: tensors of the model.
    The result is the prefix without which most names fit the model. Names of the head do not count,
    because a wrapping module often has a head of the same name. The prefix is uncertain if another
    prefix fits at least half as many names, as in a file with two copies of the model. If no prefix
    makes a name fit, the result is the beginning that all names share, up to the first part that
    the model has too.
    """
    fresh = (*heads, *list_head_parents(own, heads))
    body = {key for key in own if not is_under(key, fresh) and not key.endswith(COUNTER)}
    ends = ((each[:i], ".".join(each[i:])) for each in names for i in range(len(each)))
    fits = Counter(tuple(start) for start, end in ends if end in body)
    if fits:
        (best, most), *others = fits.most_common()
        rivals = [count for prefix, count in others if prefix[: len(best)] != best]
        return [] if 2 * max(rivals, default=0) >= most else list(best)
    firsts = {key.partition(".")[0] for key in own}
    columns = map(set, zip(*(each[:-1] for each in names), strict=False))
    shared = takewhile(lambda parts: len(parts) == 1 and not parts & firsts, columns)
    return [part for parts in shared for part in parts]


def _translate_by_library(state: State, model: nn.Module, name: str) -> State:
    """Return the tensors as the builder of torchvision or timm renames them before it loads them.

    Auxiliary heads are dropped. If the translation fails, the tensors are returned as they are;
    their names then do not match, which the caller reports.
    """
    if is_torchvision(name):
        unused = [part for part in AUXILIARY.get(name, ()) if not getattr(model, part, None)]
        return {
            DENSE.sub(r"\1\2", key) if name.startswith("densenet") else key: value
            for key, value in state.items()
            if not is_under(key, unused)
        }
    short = name.removeprefix(TIMM)
    if not timm.is_model(short):
        return state
    rename, strict = _find_timm_loading(short)
    found: State = state
    if rename:
        try:
            found = _keep_tensors(_call_filter(rename, dict(state), model))
        except Exception:  # a filter expects the names of its own files and fails on any other
            return state
    if not strict:  # the builder ignores unknown names
        own = model.state_dict()
        found = {key: value for key, value in found.items() if key in own}
    return found


def _keep_tensors(state: Mapping[str, Any]) -> State:
    return {key: value for key, value in state.items() if isinstance(value, Tensor)}


def _call_filter(rename: Callable[..., Any], state: State, model: nn.Module) -> Any:
    try:
        return rename(state, model)
    except TypeError:  # timm calls older filters without the model
        return rename(state)


@lru_cache(maxsize=16)
def _find_timm_loading(name: str) -> tuple[Callable[..., Any] | None, bool]:
    """Return timm's filter for checkpoints of a model, and whether timm loads it strictly.

    timm passes both values only to its function `load_pretrained`. `_find_timm_loading` therefore
    replaces `load_pretrained` while it builds the model on the meta device.
    """
    builder = timm.models._builder
    found: list[tuple[Callable[..., Any] | None, bool]] = []

    def record(*_: Any, filter_fn: Any = None, strict: bool = True, **__: Any) -> None:
        found.append((filter_fn, strict))

    original = builder.load_pretrained
    builder.load_pretrained = record
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"):
            timm.create_model(name, pretrained=True)
    except Exception:  # a model that cannot be built on the meta device
        return None, True
    finally:
        builder.load_pretrained = original
    return found[0] if found else (None, True)


def _translate_by_modules(state: State, model: nn.Module, heads: Sequence[str]) -> State:
    """Return the tensors as the modules of the model rename them in `load_state_dict`.

    torchvision's vision transformers rename the linear layers of older files there.
    """
    scratch = copy.deepcopy(model).to("meta")
    own = scratch.state_dict()
    wrong = {key for key in state if key in own and state[key].shape != own[key].shape}
    skipped = {key for key in state if key in wrong or is_under(key, heads)}
    try:
        result = scratch.load_state_dict(
            {key: value for key, value in state.items() if key not in skipped},
            strict=False,
            assign=True,  # keep the dtypes of the file
        )
    except (RuntimeError, ValueError):  # wrong shapes under the new names
        return state
    own = scratch.state_dict()
    renamed = {key: own[key] for key in own if key not in result.missing_keys}
    kept = {key: state[key] for key in (*skipped, *result.unexpected_keys) if key in state}
    return renamed | kept
