"""Definition of one run: an immutable, validated value whose id hashes all that affects results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from bench.errors import UserError
from bench.field_rules import check_fields
from bench.options import (
    Choice,
    Flag,
    Integer,
    Option,
    Real,
    Text,
    check_options,
    make_unknown_error,
)
from bench.path_names import omit_path
from bench.revisions import RESULTS_VERSION, REVISIONS

FULL = "full"  # name of the strategy that freezes nothing
PRECISIONS = ("float32", "tf32", "bfloat16")
HOW = ("paths", "keep_model", "data_workers", "nodes")  # these change neither the result nor the id


def _declare(option: Option) -> Any:
    """Return a dataclass field with the default of an option, and the option in its metadata."""
    return field(default=option.default, metadata={"option": option})


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One training: a model, a data set, a strategy and a seed.

    Most fields are declared with a default, a range and a description, which `freezebench list
    fields` prints.

    Attributes:
        options: the strategy's parameters that differ from their defaults.
        match: ids of the runs whose mean FLOPs are this run's budget.
        contents: hashes of the files that the run reads: data, weights, predictor, external
            strategy.
        paths: locations of these files; not part of the id.
        keep_model: keep the trained weights, for another run or for the user; not part of the id.
    """

    model: str = _declare(Text("", doc="model by name"))
    data: str = _declare(Text("", doc="data set by name"))
    strategy: str = _declare(Text(FULL, doc="strategy by name, or path/to/file.py:Class"))
    seed: int = _declare(
        Integer(
            0,
            doc="seed of new weights, data order, augmentation and the fold of the data set",
        )
    )
    epochs: int = _declare(Integer(10, low=1, high=100_000, doc="passes over the training set"))
    batch_size: int = _declare(Integer(32, low=1, high=1_000_000, doc="samples per step"))
    lr: float = _declare(
        Real(0.01, low=0.0, high=1e6, doc="highest learning rate; falls to zero on a cosine")
    )
    warmup: float = _declare(
        Real(0.0, low=0.0, high=0.9, doc="share of the steps in which lr rises linearly from zero")
    )
    momentum: float = _declare(Real(0.9, low=0.0, high=1.0, doc="momentum of SGD"))
    nesterov: bool = _declare(Flag(False, doc="Nesterov momentum, for SGD"))
    weight_decay: float = _declare(
        Real(0.0, low=0.0, high=1e3, doc="weight decay: L2 for SGD, decoupled for AdamW")
    )
    optimizer: str = _declare(Choice("sgd", ("sgd", "adamw"), doc="optimizer"))
    resolution: int = _declare(
        Integer(224, low=8, high=4096, doc="side of the square input in pixels")
    )
    length: int = _declare(
        Integer(128, low=8, high=512, doc="maximum text length, tokens; longer texts are cut")
    )
    augment: str = _declare(
        Choice(
            "standard",
            ("none", "standard", "randaugment"),
            doc="standard: random crop, and flip where the data set allows it; "
            "randaugment: RandAugment as well, only for image folders too large for memory",
        )
    )
    label_smoothing: float = _declare(
        Real(0.0, low=0.0, high=1.0, doc="label smoothing of the training loss")
    )
    normalisation: str = _declare(
        Choice("data", ("data", "imagenet", "half"), doc="mean and std of pixels; half: both 0.5")
    )
    weights: str = _declare(
        Text("", doc="initial weights: '' = random, 'pretrained', 'run:ID', or 'file'")
    )
    weights_may_lack: str = _declare(
        Text("", doc="comma-separated name prefixes of tensors that the weights file may lack")
    )
    reference: str = _declare(Text("", doc="'run:ID' of a fully trained model of the same task"))
    evaluate_on: str = _declare(
        Choice("test", ("test", "validation"), doc="split used for evaluation")
    )
    score_epochs: bool = _declare(
        Flag(False, doc="also evaluate after every epoch; epochs.jsonl gets the scores")
    )
    score_samples: int = _declare(
        Integer(0, doc="samples for score_epochs, balanced over the classes; 0 = all")
    )
    train_limit: int = _declare(
        Integer(0, doc="number of training samples, balanced over the classes; 0 = all")
    )
    device: str = _declare(Choice("cpu", ("cpu", "cuda"), doc="device type"))
    precision: str = _declare(
        Choice("float32", PRECISIONS, doc="precision of forward and backward")
    )
    channels_last: bool = _declare(Flag(False, doc="store images in channels-last memory format"))
    threads: int = _declare(Integer(1, low=1, high=1024, doc="CPU threads of each process"))
    replicas: int = _declare(
        Integer(1, low=1, high=1024, doc="processes that share every batch, one per GPU")
    )
    nodes: int = _declare(
        Integer(1, low=1, high=1024, doc="machines that share the replicas; not part of the id")
    )
    data_workers: int = _declare(
        Integer(0, high=256, doc="processes that decode images; 0 = up to 4; not part of the id")
    )
    sequential: bool = _declare(Flag(False, doc="read each tar shard of images from start to end"))
    cache_prefix: bool = _declare(
        Flag(False, doc="cache the outputs of the frozen prefix; needs augment = none")
    )
    cache_device_mib: int = _declare(Integer(4096, doc="prefix cache: limit on the device, MiB"))
    cache_host_mib: int = _declare(Integer(4096, doc="prefix cache: limit in host memory, MiB"))
    cache_disk_mib: int = _declare(Integer(0, doc="prefix cache: limit on disk, MiB"))
    fold_norms: bool = _declare(
        Flag(False, doc="fold BatchNorm into the convolutions of a frozen prefix")
    )
    frozen_dropout: bool = _declare(
        Flag(False, doc="keep dropout on in frozen layers, which otherwise run in eval mode")
    )
    checkpointing: bool = _declare(
        Flag(False, doc="gradient checkpointing of each block; text models only")
    )
    compiled: bool = _declare(
        Flag(False, doc="use torch.compile for forward and backward, anew in each freeze state")
    )
    options: Mapping[str, Any] = field(default_factory=dict)
    match: tuple[str, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    keep_model: bool = False

    def __post_init__(self) -> None:
        """Check every field. Raise UserError that names the key, the value and the valid values."""
        checked = check_options("run", FIELDS, {name: getattr(self, name) for name in FIELDS})
        for name in ("model", "data"):
            if not checked[name]:
                raise UserError(f"run: {name} is missing; give one (see `freezebench list`)")
        for name in ("weights", "reference"):
            if checked[name] == "run:":
                raise UserError(f"run: {name} = 'run:' has no id; give run:ID of a finished run")
        for name in ("options", "contents", "paths"):
            checked[name] = MappingProxyType(dict(getattr(self, name)))
        checked["match"] = tuple(self.match)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        check_fields(checked, HASHED)

    @cached_property
    def id(self) -> str:
        """Twelve hex digits that hash every field that changes the result."""
        return self._hash_identity(self._collect_identity())

    @cached_property
    def cell(self) -> str:
        """Id shared by the runs that differ in their seed only."""
        identity = self._collect_identity()
        identity.pop("seed", None)
        if self.reference:  # each split of the data has its own reference, and the seed selects it
            identity["reference"] = True
        return self._hash_identity(identity)

    @property
    def strategy_name(self) -> str:
        """Name of the strategy, without the path of an external file."""
        return self.strategy.rpartition(":")[2]

    @property
    def data_name(self) -> str:
        """Data set without the path of its files. The id hashes their contents instead."""
        return omit_path(self.data)

    @property
    def model_name(self) -> str:
        """Model without the path of its files. The id hashes their contents instead."""
        return omit_path(self.model)

    @property
    def label(self) -> str:
        """Description of the run for progress lines and messages."""
        options = "".join(f" {k}={v}" for k, v in self.options.items())
        return f"{self.model} {self.data} {self.strategy_name}{options} seed {self.seed}"

    @property
    def replicas_per_node(self) -> int:
        """Number of processes on each machine."""
        return self.replicas // self.nodes

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the runs that must be done before this one."""
        sources = (self.weights, self.reference)
        artifacts = tuple(s.removeprefix("run:") for s in sources if s.startswith("run:"))
        return artifacts + self.match

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain JSON values; `from_dict` is the inverse."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("options", "contents", "paths"):
            values[name] = dict(values[name])
        values["match"] = list(values["match"])
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Spec:
        """Build a spec from plain values. Raise UserError for an unknown or missing key."""
        known = {f.name for f in fields(cls)}
        for key in values:
            if key not in known:
                raise make_unknown_error("run: key", key, sorted(known))
        missing = {"model", "data"} - set(values)
        if missing:
            names = sorted(missing)
            words = " ".join(f"--{name} NAME" for name in names)
            raise UserError(
                f"run: {' and '.join(names)} must be given; pass {words} (in a TOML file, add the "
                "key; `freezebench list` shows names)"
            )
        return cls(**values)

    def with_changes(self, **changes: Any) -> Spec:
        """Return a copy of the spec with some fields changed."""
        return replace(self, **changes)

    def _collect_identity(self) -> dict[str, Any]:
        """Return the values that the run's id hashes, by name.

        These are the fields that change the result, the results version and the revisions. All
        fields but `strategy` are left out if they have their default value. A new field therefore
        keeps old ids.
        """
        identity = {
            name: value
            for name, default in HASHED.items()
            if (value := getattr(self, name)) != default
        }
        identity["strategy"] = self.strategy_name
        identity["model"] = self.model_name
        identity["data"] = self.data_name
        for name in ("options", "contents", "match"):
            value = getattr(self, name)
            if value:
                identity[name] = list(value) if name == "match" else dict(value)
        identity["results_version"] = RESULTS_VERSION
        if revisions := [name for name, touches in REVISIONS.items() if touches(self)]:
            identity["revisions"] = revisions
        return identity

    @staticmethod
    def _hash_identity(identity: Mapping[str, Any]) -> str:
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


FIELDS: Mapping[str, Option] = {
    f.name: f.metadata["option"] for f in fields(Spec) if "option" in f.metadata
}
# Default of every field that changes the result.
HASHED = {name: option.default for name, option in FIELDS.items() if name not in HOW}
