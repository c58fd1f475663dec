"""Tests of digits and glyphs: images are fixed, and the parts are drawn from disjoint sources."""

import time

import pytest
import torch

from bench.data import catalogue
from bench.data.images import digits, glyphs
from bench.errors import UserError

EMBEDDED = [data_set.name for data_set in (*digits.DATA_SETS, *glyphs.DATA_SETS)]


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_data_set_has_the_declared_shapes_and_classes(name):
    data = catalogue.load(name, resolution=8, evaluate_on="validation")
    facts = catalogue.describe(name)
    assert data.train_images.shape == (facts.train_samples, 3, 8, 8)
    assert data.eval_images.shape[0] == len(data.eval_labels) >= 5000
    assert data.train_images.dtype == data.eval_images.dtype == torch.uint8
    for labels in (data.train_labels, data.eval_labels):
        assert set(labels.tolist()) == set(range(data.classes))
    assert data.classes == facts.classes
    assert torch.isfinite(data.mean).all()
    assert (data.std > 0.05).all()
    assert not data.flip  # a mirrored letter is another shape


@pytest.mark.parametrize("name", ["digits100", "glyphs:pairs"])
def test_a_data_set_does_not_depend_on_the_global_random_state(name):
    first = catalogue.load(name, resolution=8)
    torch.rand(7)
    second = catalogue.load(name, resolution=8)
    assert torch.equal(first.train_images, second.train_images)
    assert torch.equal(first.eval_images, second.eval_images)
    assert torch.equal(first.eval_labels, second.eval_labels)


def test_drawing_does_not_change_the_global_random_state():
    before = torch.get_rng_state()
    catalogue.load("digits10", resolution=8)
    assert torch.equal(before, torch.get_rng_state())


def test_a_data_set_is_drawn_in_six_seconds():
    begin = time.process_time()
    catalogue.load("digits100", resolution=24)
    assert time.process_time() - begin < 6


def test_digits_of_the_three_parts_are_disjoint_and_all_used():
    parts = digits.split()
    everything = torch.cat(list(parts.values()))
    assert len(everything) == len(everything.unique()) == 1797
    assert all(len(part) > 300 for part in parts.values())


def test_evaluating_on_validation_uses_no_test_digit(monkeypatch):
    drawn = []
    original = digits._draw
    monkeypatch.setattr(
        digits,
        "_draw",
        lambda recipe, pool, *rest, **k: drawn.append(pool) or original(recipe, pool, *rest, **k),
    )
    catalogue.load("digits100", resolution=8, evaluate_on="validation")
    tests = set(digits.split()["test"].tolist())
    assert len(drawn) == 2
    assert all(tests.isdisjoint(pool.tolist()) for pool in drawn)
    assert set(drawn[0].tolist()).isdisjoint(drawn[1].tolist())


@pytest.mark.parametrize("variant", glyphs.RECIPES)
def test_fonts_of_the_three_parts_are_disjoint_and_classes_are_letters(variant):
    recipe = glyphs.RECIPES[variant]
    parts = glyphs.split(recipe)
    everything = [font for part in parts.values() for font in part]
    assert sorted(everything) == sorted(recipe.fonts)
    assert len(set(everything)) == len(everything)
    assert all(parts.values())
    for letters in (recipe.letters, recipe.pairs):
        assert not letters or letters.isalpha()
        assert len(set(letters)) == len(letters)


def test_all_letters_of_a_font_have_different_shapes():
    for font in glyphs.ALL:
        shapes = glyphs._render_letters(font, glyphs.MIXED).flatten(1).float()
        assert (shapes.amax(dim=1) > 100).all()
        distances = torch.cdist(shapes, shapes) + torch.eye(len(shapes)) * 1e9
        assert distances.min() > 200


def test_a_digits100_label_reads_left_to_right():
    data = catalogue.load("digits100", resolution=32)
    ones_left = data.eval_images[data.eval_labels // 10 == 1].float()
    zeros_left = data.eval_images[data.eval_labels // 10 == 0].float()

    # Ones and zeros differ in ink. If they are on the left, only the left halves differ.
    def ink(images):
        return images.mean(dim=1).std(dim=(1, 2)).mean()

    left = ink(zeros_left[..., :16]) - ink(ones_left[..., :16])
    right = ink(zeros_left[..., 16:]) - ink(ones_left[..., 16:])
    assert left.abs() > 3 * right.abs()


def test_fingerprints_differ_between_data_sets_and_depend_on_the_recipe(monkeypatch):
    prints = {name: catalogue.find_data_set(name).fingerprint(None) for name in EMBEDDED}
    assert len(set(prints.values())) == len(prints)
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in prints.values())
    assert catalogue.find_data_set("digits10").fingerprint(None) == prints["digits10"]
    monkeypatch.setattr(digits, "RECIPE", digits.RECIPE + 1)
    assert catalogue.find_data_set("digits10").fingerprint(None) != prints["digits10"]


@pytest.mark.parametrize("name", ["digits10", "digits100", "glyphs:upper", "glyphs:pairs"])
def test_classes_are_drawn_equally_often(name):
    data = catalogue.load(name, resolution=8)
    for labels in (data.train_labels, data.eval_labels):
        counts = torch.bincount(labels)
        assert counts.max() - counts.min() <= 1


def test_the_source_task_shows_letters_alone_and_in_pairs():
    recipe = glyphs.RECIPES[""]
    data = catalogue.load("glyphs", resolution=24)
    assert data.classes == 26 + 100
    alone = data.eval_labels < len(recipe.letters)
    assert alone.float().mean() == 0.5
    # A pair has ink near the left and right edges, a single letter mostly in the middle.
    spread = data.eval_images.float().mean(dim=1).std(dim=1)
    edge = spread[:, :4].mean(dim=1) + spread[:, -4:].mean(dim=1)
    assert edge[~alone].mean() > edge[alone].mean()


def test_train_limit_keeps_classes_balanced():
    data = catalogue.load("digits10", resolution=8, train_limit=95)
    counts = torch.bincount(data.train_labels)
    assert counts.sum() == 95
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("name", ["digits11", "glyphs:uper", "cifar", ""])
def test_the_error_for_an_unknown_name_lists_the_valid_names(name):
    for ask in (
        lambda: catalogue.load(name, resolution=8),
        lambda: catalogue.find_data_set(name).fingerprint(None),
        lambda: catalogue.describe(name),
    ):
        with pytest.raises(UserError, match="digits10") as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_the_digits_equal_those_that_scikit_learn_loads() -> None:
    from sklearn.datasets import load_digits

    images, labels = digits._load_source()
    theirs = load_digits()
    assert torch.equal(images, torch.tensor(theirs.images, dtype=torch.uint8))
    assert torch.equal(labels, torch.tensor(theirs.target))
