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

FULL = "full"  # name of the strategy that freezes nothing
PRECISIONS = ("float32", "tf32", "bfloat16")
HOW = ("paths", "keep_model", "data_workers")  # changes no result, and no id


def _declare(option: Option) -> Any:
    """Return a dataclass field with the default and the checks of an option."""
    return field(default=option.default, metadata={"option": option})


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One model trained once on one data set with one strategy and one seed.

    Each declared field holds its default, range and meaning (see FIELDS). The others are:
    options: the strategy's parameters that differ from their defaults.
    match: ids of the runs whose mean cost is this run's budget.
    contents: sha256 of what the run reads: data, weights, predictor, an external strategy's file.
    paths: where those lie; not part of the id.
    keep_model: keep the trained weights, for runs that another needs; not part of the id.
    """

    model: str = _declare(Text("", doc="model by name"))
    data: str = _declare(Text("", doc="data set by name"))
    strategy: str = _declare(Text(FULL, doc="strategy by name, or path/to/file.py:Class"))
    seed: int = _declare(
        Integer(0, doc="draws the head, the order of the data and their augmentation")
    )
    epochs: int = _declare(Integer(10, low=1, high=100_000, doc="passes over the training set"))
    batch_size: int = _declare(Integer(32, low=1, high=1_000_000, doc="samples a step"))
    lr: float = _declare(
        Real(0.01, low=0.0, high=1e6, doc="learning rate at the start; cosine to zero")
    )
    warmup: float = _declare(
        Real(0.0, low=0.0, high=0.9, doc="share of the steps in which lr rises from zero")
    )
    momentum: float = _declare(Real(0.9, low=0.0, high=1.0, doc="of SGD"))
    weight_decay: float = _declare(
        Real(0.0, low=0.0, high=1e3, doc="L2 for SGD, decoupled for AdamW")
    )
    optimizer: str = _declare(Choice("sgd", ("sgd", "adamw"), doc="optimizer"))
    resolution: int = _declare(
        Integer(224, low=8, high=4096, doc="side of the square input, pixels")
    )
    length: int = _declare(
        Integer(128, low=8, high=512, doc="longest text, tokens; what is longer is cut")
    )
    augment: str = _declare(
        Choice(
            "standard",
            ("none", "standard", "randaugment"),
            doc="crop, and flip where it makes sense; randaugment besides, on large image folders",
        )
    )
    label_smoothing: float = _declare(Real(0.0, low=0.0, high=1.0, doc="of the training loss"))
    normalisation: str = _declare(
        Choice("data", ("data", "imagenet", "half"), doc="mean and std of inputs")
    )
    weights: str = _declare(
        Text("", doc="'' = random, 'pretrained', 'run:ID', or 'file' (see paths)")
    )
    weights_may_lack: str = _declare(
        Text("", doc="comma-separated prefixes of names that a file may lack")
    )
    reference: str = _declare(Text("", doc="'run:ID' of a fully trained model of the same task"))
    evaluate_on: str = _declare(Choice("test", ("test", "validation"), doc="which split is scored"))
    train_limit: int = _declare(Integer(0, doc="use the first samples only; 0 = all"))
    device: str = _declare(Choice("cpu", ("cpu", "cuda"), doc="class of device"))
    precision: str = _declare(Choice("float32", PRECISIONS, doc="of forward and backward"))
    channels_last: bool = _declare(Flag(False, doc="memory layout of images"))
    threads: int = _declare(Integer(1, low=1, high=1024, doc="CPU threads of the run"))
    replicas: int = _declare(
        Integer(1, low=1, high=1024, doc="processes that share every batch, one a GPU")
    )
    data_workers: int = _declare(
        Integer(
            0,
            high=256,
            doc="processes that decode a large image folder; 0 = up to 4; not in the id",
        )
    )
    cache_prefix: bool = _declare(
        Flag(False, doc="keep what a frozen prefix puts out; needs augment = none")
    )
    cache_device_mib: int = _declare(Integer(4096, doc="MiB of it on the device"))
    cache_host_mib: int = _declare(Integer(4096, doc="MiB of it in the host's memory"))
    cache_disk_mib: int = _declare(Integer(0, doc="MiB of it on disk"))
    fold_norms: bool = _declare(
        Flag(False, doc="fold BatchNorm into the convolutions of a frozen prefix")
    )
    compiled: bool = _declare(
        Flag(False, doc="compile forward and backward anew in each freeze state")
    )
    options: Mapping[str, Any] = field(default_factory=dict)
    match: tuple[str, ...] = ()
    contents: Mapping[str, str] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)
    keep_model: bool = False

    def __post_init__(self) -> None:
        """Check every field; raises UserError naming the key, the value and the valid ones."""
        checked = check_options("run", FIELDS, {name: getattr(self, name) for name in FIELDS})
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
        return self._hash_identity(self._collect_identity())

    @cached_property
    def cell(self) -> str:
        """The id that runs share which differ in seed only."""
        identity = self._collect_identity()
        identity.pop("seed", None)
        return self._hash_identity(identity)

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
                raise make_unknown_error("run: key", key, sorted(known))
        missing = {"model", "data"} - set(values)
        if missing:
            raise UserError(f"run: {' and '.join(sorted(missing))} missing; give it")
        return cls(**values)

    def with_changes(self, **changes: Any) -> Spec:
        """The same run with some fields changed."""
        return replace(self, **changes)

    def _collect_identity(self) -> dict[str, Any]:
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
    def _hash_identity(identity: Mapping[str, Any]) -> str:
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


FIELDS: Mapping[str, Option] = {
    f.name: f.metadata["option"] for f in fields(Spec) if "option" in f.metadata
}
