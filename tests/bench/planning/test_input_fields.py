"""Tests of fields that act only on images or only on texts."""

from pathlib import Path

import pytest

from bench.cli.main import main
from bench.errors import UserError
from bench.planning.sweep import load_sweep


def test_a_change_reaches_only_the_runs_on_which_it_acts(tmp_path: Path) -> None:
    file = tmp_path / "both.toml"
    file.write_text(
        'title = "images and texts"\n[[grid]]\nmodels = ["resnet50"]\ndatasets = ["cifar10"]\n'
        'seeds = [0]\n[[grid]]\nmodels = ["bert_base"]\ndatasets = ["mrpc"]\nseeds = [0]\n'
        '[[methods]]\nname = "full"\n'
    )
    image, text = (entry.spec for entry in load_sweep(str(file), "laptop").entries)
    changes = {"resolution": 16, "normalisation": "half"}
    changed = [entry.spec for entry in load_sweep(str(file), "laptop", changes=changes).entries]
    assert (changed[0].resolution, changed[0].normalisation) == (16, "half")
    assert changed[0].id != image.id
    assert changed[1].id == text.id


def test_a_change_that_acts_on_no_run_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"normalisation acts on images only, but .* contain"):
        load_sweep("table6", "laptop", changes={"normalisation": "half"})
    arguments = ["run", "--model", "laptop_resnet", "--data", "digits10", "--length", "64"]
    assert main(arguments) == 2
    words = "length acts on texts only, but digits10 contains images; leave length out"
    assert words in capsys.readouterr().err
