"""What one run is: an immutable, validated description whose id is a hash of what matters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import MappingProxyType
from typing import Any

from bench.errors import UserError
from bench.options import Choice, Flag, Integer, Option, Real, Text, check, unknown

# Raised, with a line in CHANGELOG.md, by every change of code that changes results.
RESULTS_VERSION = 3

# The same for changes that touch a few runs only, by what tells these from the others: the ids of
# all other runs stay.
REVISIONS: Mapping[str, Callable[[Spec], bool]] = {
    # What draws ends a prefix, whatever it is called; budgets leave out what caching spared.
    "cut 1": lambda spec: spec.cache_prefix or spec.fold_norms,
    # A step that rounding took from a whole number of them is made.
    "shortened 1": lambda spec: spec.strategy == "shortened",
}

PRECISIONS = ("float32", "tf32", "bfloat16")
FIELDS: Mapping[str, Option] = {
    "model": Text("", doc="model by name"),
    "data": Text("", doc="data set by name"),
    "strategy": Text("full", doc="strategy by name, or path/to/file.py:Class"),
    "seed": Integer(0, doc="draws the head, the order of the data and their augmentation"),
    "epochs": Integer(10, low=1, high=100_000, doc="passes over the training set"),
    "batch_size": Integer(32, low=1, high=1_000_000, doc="samples a step"),
    "lr": Real(0.01, low=0.0, high=1e6, doc="learning rate at the start; cosine to zero"),
    "warmup": Real(0.0, low=0.0, high=0.9, doc="share of the steps in which lr rises from zero"),
    "momentum": Real(0.9, low=0.0, high=1.0, doc="of SGD"),
    "weight_decay": Real(0.0, low=0.0, high=1e3, doc="L2 for SGD, decoupled for AdamW"),
    "optimizer": Choice("sgd", ("sgd", "adamw"), doc="optimizer"),
    "resolution": Integer(224, low=8, high=4096, doc="side of the square input, pixels"),
    "length": Integer(128, low=8, high=512, doc="longest text, tokens; what is longer is cut"),
    "augment": Choice(
        "standard",
        ("none", "standard", "randaugment"),
        doc="crop, and flip where it makes sense; randaugment besides, on large image folders",
    ),
    "label_smoothing": Real(0.0, low=0.0, high=1.0, doc="of the training loss"),
    "normalisation": Choice("data", ("data", "imagenet", "half"), doc="mean and std of inputs"),
    "weights": Text("", doc="'' = random, 'pretrained', 'run:ID', or 'file' (see paths)"),
    "weights_may_lack": Text("", doc="comma-separated prefixes of names that a file may lack"),
    "reference": Text("", doc="'run:ID' of a fully trained model of the same task"),
    "evaluate_on": Choice("test", ("test", "validation"), doc="which split is scored"),
    "train_limit": Integer(0, doc="use the first samples only; 0 = all"),
    "device": Choice("cpu", ("cpu", "cuda"), doc="class of device"),
    "precision": Choice("float32", PRECISIONS, doc="of forward and backward"),
    "channels_last": Flag(False, doc="memory layout of images"),
    "threads": Integer(1, low=1, high=1024, doc="CPU threads of the run"),
    "replicas": Integer(1, low=1, high=1024, doc="processes that share every batch, one a GPU"),
    "data_workers": Integer(
        0, high=256, doc="processes that decode a large image folder; 0 = up to 4; not in the id"
    ),
    "cache_prefix": Flag(False, doc="keep what a frozen prefix puts out; needs augment = none"),
    "cache_device_mib": Integer(4096, doc="MiB of it on the device"),
    "cache_host_mib": Integer(4096, doc="MiB of it in the host's memory"),
    "cache_disk_mib": Integer(0, doc="MiB of it on disk"),
    "fold_norms": Flag(False, doc="fold BatchNorm into the convolutions of a frozen prefix"),
    "compiled": Flag(False, doc="compile forward and backward anew in each freeze state"),
}


HOW = ("paths", "keep_model", "data_workers")  # changes no result, and no id


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One model trained once on one data set with one strategy and one seed.

    Fields are described in FIELDS; besides them:
    options: the strategy's parameters that differ from their defaults.
    match: ids of the runs whose mean cost is this run's budget.
    contents: sha256 of what the run reads: data, weights, predictor, an external strategy's file.
    paths: where those lie; not part of the id.
    keep_model: keep the trained weights, for runs that another needs; not part of the id.
    """

    model: str
    data: str
    strategy: str = "full"
    seed: int = 0
    epochs: int = 10
    batch_size: int = 32
    lr: float = 0.01
    warmup: float = 0.0
    momentum: float = 0.9
    weight_decay: float = 0.0
    optimizer: str = "sgd"
    resolution: int = 224
    length: int = 128
    augment: str = "standard"
    label_smoothing: float = 0.0
    normalisation: str = "data"
    weights: str = ""
    weights_may_lack: str = ""
    reference: str = ""
    evaluate_on: str = "test"
    train_limit: int = 0
    device: str = "cpu"
    precision: str = "float32"
    channels_last: bool = False
    threads: int = 1
    replicas: int = 1
    data_workers: int = 0
    cache_prefix: bool = False
    cache_device_mib: int = 4096
    cache_host_mib: int = 4096
    cache_disk_mib: int = 0
    fold_norms: bool = False
    compiled: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    match: tuple[str, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    keep_model: bool = False

    def __post_init__(self) -> None:
        """Check every field; raises UserError naming the key, the value and the valid ones."""
        checked = check("run", FIELDS, {name: getattr(self, name) for name in FIELDS})
        for name in ("model", "data"):
            if not checked[name]:
                raise UserError(f"run: {name} is missing; give one (see `freezebench list`)")
        if checked["cache_prefix"] and checked["augment"] != "none":
            raise UserError(
                f"run: cache_prefix needs inputs that repeat; augment = {checked['augment']!r} "
                "draws new ones at every step: set augment to none"
            )
        for name in ("cache_prefix", "fold_norms"):
            if checked["compiled"] and checked[name]:
                raise UserError(f"run: compiled does not go with {name}; leave one of them off")
        for name in ("options", "contents", "paths"):
            checked[name] = MappingProxyType(dict(getattr(self, name)))
        checked["match"] = tuple(self.match)
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.replicas > 1:
            self._check_replicas()

    @cached_property
    def id(self) -> str:
        """Twelve hex digits from all that changes the result."""
        return self._digest(self._identity())

    @cached_property
    def cell(self) -> str:
        """The id that runs share which differ in seed only."""
        identity = self._identity()
        identity.pop("seed", None)
        return self._digest(identity)

    @property
    def strategy_name(self) -> str:
        """The strategy's name without the path of an external file."""
        return self.strategy.rpartition(":")[2]

    @property
    def data_name(self) -> str:
        """The data set without the path of a folder, whose contents are hashed instead."""
        return "folder" if self.data.startswith("folder:") else self.data

    @property
    def label(self) -> str:
        """The run in words, for progress and messages."""
        options = "".join(f" {k}={v}" for k, v in self.options.items())
        return f"{self.model} {self.data} {self.strategy_name}{options} seed {self.seed}"

    @property
    def needs(self) -> tuple[str, ...]:
        """Ids of the runs that must be done before this one."""
        sources = (self.weights, self.reference)
        artifacts = tuple(s.removeprefix("run:") for s in sources if s.startswith("run:"))
        return artifacts + self.match

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values; `from_dict` is its inverse."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in ("options", "contents", "paths"):
            values[name] = dict(values[name])
        values["match"] = list(values["match"])
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Spec:
        """Build a spec from plain values; raises UserError for an unknown key."""
        known = {f.name for f in fields(cls)}
        for key in values:
            if key not in known:
                raise unknown("run: key", key, sorted(known))
        missing = {"model", "data"} - set(values)
        if missing:
            raise UserError(f"run: {' and '.join(sorted(missing))} missing; give it")
        return cls(**values)

    def but(self, **changes: Any) -> Spec:
        """The same run with some fields changed."""
        return replace(self, **changes)

    def _identity(self) -> dict[str, Any]:
        """What changes the result. Values at their default stay out, so that adding an option
        leaves old ids alone.
        """
        identity = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in (*HOW, "options", "contents", "match")
        }
        identity = {k: v for k, v in identity.items() if k in FIELDS and v != FIELDS[k].default}
        identity["strategy"] = self.strategy_name
        identity["data"] = self.data_name
        for name in ("options", "contents", "match"):
            value = getattr(self, name)
            if value:
                identity[name] = list(value) if name == "match" else dict(value)
        identity["results_version"] = RESULTS_VERSION
        if revisions := [name for name, touches in REVISIONS.items() if touches(self)]:
            identity["revisions"] = revisions
        return identity

    def _check_replicas(self) -> None:
        """Raise UserError for what several processes cannot do."""
        if self.batch_size % self.replicas:
            raise UserError(
                f"run: batch_size = {self.batch_size} does not divide by replicas = "
                f"{self.replicas}; each process takes the same share of a batch"
            )
        if self.batch_size < 2 * self.replicas:
            raise UserError(
                f"run: batch_size = {self.batch_size} leaves each of {self.replicas} processes "
                "one sample, which BatchNorm cannot take; give fewer replicas"
            )
        for name in ("cache_prefix", "fold_norms", "compiled"):
            if getattr(self, name):
                raise UserError(f"run: {name} works in one process; leave replicas at 1")

    @staticmethod
    def _digest(identity: Mapping[str, Any]) -> str:
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
