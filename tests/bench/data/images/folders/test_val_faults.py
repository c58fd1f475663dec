"""Tests of faults in val/: training images are refused; --evaluate-on validation needs no val/."""

import shutil

import pytest

from bench.data import catalogue
from bench.data.images import image_folder
from bench.data.images.folders.folder_sets import FolderSet
from bench.errors import UserError


@pytest.mark.parametrize("link", ["val", "val/ant", "val/ant/more"])
def test_training_images_are_not_scored(link, pictures, expect_error):
    target = pictures / link.replace("val", "train").removesuffix("/more")
    if (pictures / link).is_dir():
        (pictures / link).rename(pictures / "gone")
    (pictures / link).symlink_to(target)
    expect_error(r"val/ant\S*: the same as \S+/train/ant, so training images would", pictures)
    assert fingerprint_for("validation", pictures)


def fingerprint_for(evaluate_on, root):
    return FolderSet(f"folder:{root}").fingerprint_for(evaluate_on, None)


def break_val(fault, root):
    """Give val a fault that a run with --evaluate-on test reports."""
    shown = root / "val" / "ant" / "x"
    if fault == "class missing":
        (root / "val" / "bee").rename(root / "bee")
    elif fault == "other name":
        (root / "val").rename(root / "test")
    elif fault == "other class":
        (root / "val" / "dog").mkdir()
    elif fault == "broken link":
        shown.symlink_to("/nonexist/x.png")
    elif fault == "broken split":
        (root / "val").rename(root / "gone")
        (root / "val").symlink_to("/nonexist")


@pytest.mark.parametrize("memory", [0, 2**30])
@pytest.mark.parametrize(
    "fault", ["class missing", "other name", "other class", "broken link", "broken split"]
)
def test_validation_runs_do_not_need_a_proper_val(fault, memory, pictures, monkeypatch):
    monkeypatch.setattr(image_folder, "MEMORY", memory)
    whole = fingerprint_for("validation", pictures)
    assert whole == fingerprint_for("test", pictures)
    break_val(fault, pictures)
    with pytest.raises(UserError, match="/val"):
        fingerprint_for("test", pictures)
    assert fingerprint_for("validation", pictures) != whole
    how = {"resolution": 16, "evaluate_on": "validation"}
    if catalogue.open_stream(f"folder:{pictures}", **how) is None:
        catalogue.load(f"folder:{pictures}", **how)


@pytest.mark.parametrize("fault", ["other format", "shared"])
def test_the_ids_of_validation_runs_are_those_of_earlier_versions(fault, pictures):
    """Compare fingerprints with and without the fault.

    Earlier versions did not report these faults, so they hashed the images of val.
    """
    if fault == "shared":
        shutil.rmtree(pictures / "val" / "ant")
        shutil.copytree(pictures / "train" / "ant", pictures / "val" / "ant")
    whole = fingerprint_for("test", pictures)
    if fault == "shared":
        shutil.rmtree(pictures / "val" / "ant")
        (pictures / "val" / "ant").symlink_to(pictures / "train" / "ant")
    else:
        (pictures / "val" / "ant" / "x").write_bytes((pictures / "val/ant/0.png").read_bytes())
    with pytest.raises(UserError):
        fingerprint_for("test", pictures)
    assert fingerprint_for("validation", pictures) == whole


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(("target", "words"), [("/nonexist", "does not exist"), (None, "leads")])
def test_a_split_that_is_a_broken_link_is_named(split, target, words, pictures, expect_error):
    (pictures / split).rename(pictures / "gone")
    (pictures / split).symlink_to(target or split)
    expect_error(rf"/{split}: a link to \S+, which {words}.*; restore the target", pictures)
