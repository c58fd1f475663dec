"""Initial weights of a model: from a safetensors file, or published weights of a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
import torchvision
from torch import Tensor, nn

from bench.errors import UserError, summarise_error
from bench.models.catalogue import TIMM
from bench.models.laptop import LAPTOP
from bench.models.texts.catalogue import find_text_model
from bench.models.texts.descriptor import TextModel
from bench.models.texts.hub_model import HubModel
from bench.models.weights.files import describe_part, format_conversion, is_under, read_weights
from bench.models.weights.names import COUNTER, list_head_parents, translate_names
from bench.models.weights.positions import needs_resampling, resample_positions

SHOWN = 4  # maximum number of tensor names in a message
OTHER_FILE = "use a file for this model"
STATISTICS = ("running_mean", "running_var")
TRAINED = ("encoder_q", "query_encoder")  # the other copy, of the keys, is a moving average in MoCo


@dataclass(frozen=True)
class LoadReport:
    """Names of the tensors that `load_backbone` loaded, and of missing tensors.

    missing: tensors of the model outside its head that the source lacks.
    resampled: position embeddings that timm interpolated from another resolution.
    note: one line on dropped name parts of wrappers, and on a head of the file that was left out,
    or "".
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    resampled: tuple[str, ...]
    note: str


def load_backbone(
    model: nn.Module,
    source: str | Path,
    *,
    head: str | Sequence[str],
    name: str = "",
    allow_missing: Sequence[str] = (),
) -> LoadReport:
    """Copy weights into everything but the head, or change nothing if a tensor does not fit.

    source: a safetensors file, or "pretrained" for the published weights of model `name`.
    head: name or names of the modules whose tensors do not change. If the file has a head of its
    own in the module that contains these modules, the tensors of that head are left out.
    allow_missing: prefixes of tensor names that the source may lack.

    Tensors are converted to the model's dtype. Raises UserError if the file cannot be read or a
    download fails. Raises UserError for missing or unknown tensors, wrong shapes, quantised
    weights, NaN and infinity.
    """
    heads = (head,) if isinstance(head, str) else tuple(head)
    path = Path(source)
    raw = load_published(name) if source == "pretrained" else read_weights(path)
    given, dropped = translate_names(raw, model, name, heads)
    shown = f"pretrained weights of {name}" if source == "pretrained" else str(source)
    own = model.state_dict()
    body = {key for key in own if not is_under(key, heads)}
    missing = sorted(key for key in body - given.keys() if not key.endswith(COUNTER))
    barred = [key for key in missing if not is_under(key, allow_missing)]
    if barred:
        advice = _explain_missing(raw, body, barred, body & given.keys(), path, name)
        raise UserError(f"{shown}: {advice}")
    parents = list_head_parents(own, heads)
    unknown = sorted(key for key in given.keys() - own.keys() if not is_under(key, heads))
    replaced = [key for key in unknown if is_under(key, parents)]
    if strange := [key for key in unknown if key not in replaced]:
        parts = {key for key in body if not is_under(key, parents)}
        advice = _explain_unknown(raw, given, strange, parts, path)
        raise UserError(
            f"{shown}: has {_format_keys(strange)}, not found in {name or 'the model'}; {advice}"
        )
    matched = sorted(body & given.keys())
    resampled = [key for key in matched if needs_resampling(key, given[key], own[key])]
    given = {**given, **{key: resample_positions(given[key], own[key]) for key in resampled}}
    if wrong := [key for key in matched if given[key].shape != own[key].shape]:
        key = wrong[0]
        raise UserError(
            f"{shown}: {key} has shape {tuple(given[key].shape)} instead of "
            f"{tuple(own[key].shape)}; {_explain_shapes(raw, given, wrong, parents, path)}"
        )
    for key in matched:
        _check_values(shown, key, given[key], own[key])
    with torch.no_grad():
        for key in matched:
            own[key].copy_(given[key])
    notes = [f"dropped {dropped} from the tensor names"] * bool(dropped)
    notes += [f"left out the file's own head ({_format_keys(replaced)})"] * bool(replaced)
    note = f"{shown}: {'; '.join(notes)}" if notes else ""
    return LoadReport(tuple(matched), tuple(missing), tuple(resampled), note)


def _check_values(shown: str, key: str, given: Tensor, own: Tensor) -> None:
    """Raise UserError if a tensor is quantised, or contains NaN or infinity."""
    if own.is_floating_point() and not _is_trainable(given):
        raise UserError(
            f"{shown}: {key} has dtype {given.dtype}, a quantised weight that needs a "
            "scale; use a file with float32, float16 or bfloat16 weights"
        )
    if not torch.isfinite(given).all():
        raise UserError(f"{shown}: {key} contains NaN or infinity; use another file")


def load_published(name: str) -> Mapping[str, Tensor]:
    """Return the published tensors of a model, downloaded if they are not in the local cache.

    Raises UserError if there are none or the download fails.
    """
    text_model = find_text_model(name)
    _check_published(name, text_model)
    state: Mapping[str, Tensor]
    try:
        if isinstance(text_model, HubModel):
            return text_model.read_published()
        if text_model:
            from huggingface_hub import hf_hub_download

            return read_weights(Path(hf_hub_download(text_model.hub, "model.safetensors")))
        if name in torchvision.models.list_models(module=torchvision.models):
            weights = torchvision.models.get_model_weights(name).DEFAULT
            state = weights.get_state_dict(progress=False, check_hash=True)
        else:
            state = timm.create_model(name.removeprefix(TIMM), pretrained=True).state_dict()
        return state
    except UserError:
        raise
    except Exception as error:  # the libraries have no common error class
        reason = summarise_error(error)
        addition = (
            ", with its vocab.txt in the same folder" if text_model and text_model.hub else ""
        )
        raise UserError(
            f"cannot load the pretrained weights of {name} ({reason}); "
            f"pass --weights FILE.safetensors{addition}"
        ) from None


def identify_published(name: str) -> str:
    """Return text that identifies the published weights of a model, such as a URL or a hash.

    Raises UserError if the model has none.
    """
    if name in torchvision.models.list_models(module=torchvision.models):
        return str(torchvision.models.get_model_weights(name).DEFAULT.url)
    text_model = find_text_model(name)
    _check_published(name, text_model)
    if isinstance(text_model, HubModel):
        return text_model.identify_published()
    if text_model:
        return text_model.hub
    config = timm.get_pretrained_cfg(name.removeprefix(TIMM))
    return f"{config.hf_hub_id or config.url}:{config.tag}" if config else name


def _check_published(name: str, text_model: TextModel | None) -> None:
    """Raise UserError if a model has no published weights."""
    unpublished = text_model and not isinstance(text_model, HubModel) and not text_model.hub
    if name in LAPTOP or unpublished:
        raise UserError(f"{name} has no published weights; pass a file to --weights, or omit it")


def _is_trainable(weight: Tensor) -> bool:
    """Return whether a weight is a plain float. Integers and 8-bit floats need a scale."""
    return weight.is_floating_point() and weight.element_size() > 1


def _format_keys(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    noun = "tensor" if len(keys) == 1 else "tensors"
    return f"{len(keys)} {noun}: {', '.join(keys[:SHOWN])}{more}" if keys else "no tensors"


def _explain_missing(
    raw: Mapping[str, Tensor],
    body: Set[str],
    barred: Sequence[str],
    fitting: Set[str],
    path: Path,
    name: str,
) -> str:
    """Return what is wrong with a file that lacks tensors, and what to do.

    raw: tensors of the file under its own names.
    body: names that the model needs.
    barred, fitting: needed names that the file lacks, and those that it has.
    """
    if part := describe_part(path):
        return part
    if any(key.endswith("_orig") and f"{key.removesuffix('orig')}mask" in raw for key in raw):
        return (
            "is pruned, with names such as weight_orig and weight_mask; call "
            "torch.nn.utils.prune.remove(module, 'weight') for each pruned module and save the "
            "state_dict again"
        )
    if not fitting:
        if len(copies := _find_copies(raw, body)) > 1:
            trained = [copy for copy in copies if copy.endswith(TRAINED)]
            return (
                f"holds several copies of the model ({', '.join(f'{c}.' for c in copies)}); keep "
                f"one with: {format_conversion(path, trained[0] if trained else copies[0])}"
            )
        return (
            f"no tensor name fits {name or 'the model'} (the file has "
            f"{_format_keys(sorted(raw))}); {OTHER_FILE}"
        )
    lacks = f"lacks {_format_keys(barred)}"
    if all(key.rpartition(".")[2] in STATISTICS for key in barred):
        return f"{lacks}, the statistics of BatchNorm; use a file with the whole state_dict"
    prefixes = _list_prefixes(barred, body)
    if 2 * len(barred) > len(body) or len(prefixes) > SHOWN:
        return f"{lacks} (of {len(body)}); use a file that holds the whole model"
    return (
        f"{lacks}; if the model may start with random values there, pass --weights-may-lack "
        f"{','.join(prefixes)}"
    )


def _explain_unknown(
    raw: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    strange: Sequence[str],
    body: Set[str],
    path: Path,
) -> str:
    """Return what to do with a file that has tensors which the model lacks.

    strange: names of these tensors.
    raw: tensors of the file under its own names.
    given: the same tensors under the names of the model. Unknown names below a module of the model
    show that the file is for another model.
    """
    modules = {key.partition(".")[0] for key in body}
    if any(key.partition(".")[0] in modules for key in strange):
        return OTHER_FILE
    command = _format_drop(raw, given, strange, path)
    if not command:
        return OTHER_FILE
    return f"if the model does not need this, leave it out with: {command}"


def _explain_shapes(
    raw: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    wrong: Sequence[str],
    parents: Sequence[str],
    path: Path,
) -> str:
    """Return why the tensors `wrong` have other shapes than in the model, and what to do.

    parents: modules that contain the head. Their layers may belong to a head that the file has.
    """
    if all(is_under(key, parents) for key in wrong):
        head = [key for key in given if is_under(key, parents)]
        if command := _format_drop(raw, given, head, path):
            return f"if this is a head of your own, leave it out with: {command}"
    return "the file is for another model or resolution; use a file for this one"


def _format_drop(
    raw: Mapping[str, Tensor], given: Mapping[str, Tensor], keys: Sequence[str], path: Path
) -> str:
    """Return the command that leaves out tensors of a file, or "" if there is no file."""
    # A translation of names keeps the tensors, but adds and removes parts anywhere in the names.
    chosen = {id(given[key]) for key in keys}
    names = [key for key, value in raw.items() if id(value) in chosen]
    if not names or not path.is_file():
        return ""
    return format_conversion(path, drop=_list_prefixes(names, raw.keys()))


def _find_copies(raw: Mapping[str, Tensor], body: Set[str]) -> list[str]:
    """Return the name prefixes under which a file has all tensors of a model, without the dot."""
    needed = sorted(key for key in body if not key.endswith(COUNTER))
    first = f".{needed[0]}" if needed else ""
    prefixes = sorted(key.removesuffix(first) for key in raw if first and key.endswith(first))
    return [p for p in prefixes if all(f"{p}.{key}" in raw for key in needed)]


def _list_prefixes(barred: Sequence[str], body: Set[str]) -> list[str]:
    """Return the shortest prefixes of missing tensors under which no tensor is present."""
    present = {key for key in body if not key.endswith(COUNTER)} - set(barred)
    taken = {key[:i] for key in present for i, letter in enumerate(key) if letter == "."}
    found = set()
    for key in barred:
        ends = [i for i, letter in enumerate(key) if letter == "."]
        found.add(next((key[:i] for i in ends if key[:i] not in taken), key))
    return sorted(found)
