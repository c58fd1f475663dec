"""Keys of sweep files and profile files, with their types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt

from bench.options import check_options
from bench.spec import FIELDS

# Field types. The description completes the error message "KEY is VALUE; it must be …".
Text = Annotated[str, Field(min_length=1, description="a text that is not empty")]
ONE_LINE = r"^[^\x00-\x1f\x7f]*[^\x00-\x20\x7f][^\x00-\x1f\x7f]*$"  # no control character
Line = Annotated[str, Field(pattern=ONE_LINE, description="a text of one line, not blank")]
Texts = Annotated[list[str], Field(description="a list of texts")]
Seeds = Annotated[list[NonNegativeInt], Field(description="a list of whole numbers, 0 or more")]
Values = Annotated[dict[str, Any], Field(description="a table")]
Factors = Annotated[dict[str, float], Field(description="a table of numbers")]
ByName = Annotated[dict[str, dict[str, Any]], Field(description="tables, as [{key}.NAME]")]


class TomlTable(BaseModel):
    """TOML table; rejects unknown keys and does not convert values."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Method(TomlTable):
    """Method of a sweep: a strategy with its options, and fields set only for its runs.

    match: name of another method, whose mean cost is the budget of this method.
    scale: factors for lr and weight_decay.
    adapter: prefix of the model's name, such as "lora"; "" for none.
    """

    name: Line
    strategy: Text = ""
    match: Text = ""
    options: Values = {}
    set: Values = {}
    scale: Factors = {}
    adapter: Text = ""

    def scale_fields(self, values: Mapping[str, Any]) -> dict[str, float]:
        """Return the scaled fields of a run. Raises UserError if a field is not a number."""
        declared = {key: FIELDS[key] for key in self.scale}
        given = {key: values[key] for key in declared if key in values}
        checked = check_options(f"method {self.name}", declared, given)
        return {key: checked[key] * factor for key, factor in self.scale.items()}


class Grid(TomlTable):
    """Axes of a sweep.

    methods: names of the methods that this grid runs; None = all.
    """

    models: Texts
    datasets: Texts
    seeds: Seeds
    methods: Texts | None = None


Methods = Annotated[list[Method], Field(description="tables, each headed [[{key}]]")]


class SweepFile(TomlTable):
    """Contents of a sweep file.

    table: the table that reports the runs; "" for a report named after the sweep.
    setting: setting of the profile to apply; "" for none.
    set: fields of all runs that the report shows. Of these fields, a reference gets those that
    define samples and inputs; backbones get none. A method's own `set` and changes by the user
    override these fields.
    """

    title: Text
    grid: Annotated[
        list[Grid],
        BeforeValidator(lambda value: value if isinstance(value, list) else [value]),
        Field(min_length=1, description="a table, headed [grid]"),
    ]
    methods: Annotated[Methods, Field(min_length=1)]
    table: Text = ""
    setting: Text = ""
    set: Values = {}
    controls: Methods = []
    models: ByName = {}
    datasets: ByName = {}

    @property
    def all_methods(self) -> list[Method]:
        """Methods, followed by controls."""
        return [*self.methods, *self.controls]


class Alias(TomlTable):
    """Sweep file that only refers to another sweep."""

    same_as: Text


class Setting(TomlTable):
    """Setting of a profile: values that replace those of the profile, table by table."""

    run: Values = {}
    models: ByName = {}
    datasets: ByName = {}
    pairs: ByName = {}


class PredictorSource(TomlTable):
    """Where a profile's predictor comes from.

    sweep: sweep of the recorded runs.
    sources: first words of the names of the source tasks.
    """

    sweep: Text
    sources: Texts


class ProfileFile(TomlTable):
    """Contents of a profile file.

    description: one line for `freezebench list profiles`.
    remark: note below each table.
    run: fields of all runs.
    models, datasets: fields by role.
    pairs: fields by MODEL/DATASET.
    """

    run: Values
    models: ByName
    datasets: ByName
    pairs: ByName = {}
    settings: Annotated[
        dict[str, Setting],
        Field(description="tables, as [{key}.NAME.run] or [{key}.NAME.models.ROLE]"),
    ] = {}
    predictor: Annotated[
        PredictorSource | None, Field(description="a table with `sweep` and `sources`")
    ] = None
    description: str = ""
    remark: str = ""
