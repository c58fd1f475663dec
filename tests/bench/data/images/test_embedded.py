"""Tests of digits, symbols and glyphs: images are fixed, and the parts have disjoint sources."""

import string
import time

import pytest
import torch

from bench.data import catalogue
from bench.data.images import digits, fonts, glyphs, symbols
from bench.errors import UserError

EMBEDDED_SETS = (*digits.DATA_SETS, *symbols.DATA_SETS, *glyphs.DATA_SETS)
EMBEDDED = [data_set.name for data_set in EMBEDDED_SETS]


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_data_set_has_the_declared_shapes_and_classes(name):
    data = catalogue.load(name, resolution=8, evaluate_on="validation")
    facts = catalogue.describe(name)
    assert data.train_images.shape == (facts.train_samples, 3, 8, 8)
    assert data.eval_images.shape[0] == len(data.eval_labels) >= 1600
    assert data.train_images.dtype == data.eval_images.dtype == torch.uint8
    for labels in (data.train_labels, data.eval_labels):
        assert set(labels.tolist()) == set(range(data.classes))
    assert data.classes == facts.classes
    assert torch.isfinite(data.mean).all()
    assert (data.std > 0.05).all()
    assert not data.flip  # a mirrored letter is another shape


@pytest.mark.parametrize("name", ["digits10", "symbols100", "glyphs:pairs"])
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
    catalogue.load("symbols100", resolution=24)
    assert time.process_time() - begin < 6


@pytest.mark.parametrize("fold", range(5))
def test_digits_of_the_three_parts_are_disjoint_and_all_used(fold):
    parts = digits.split_digits(fold)
    everything = torch.cat(list(parts.values()))
    assert len(everything) == len(everything.unique()) == 1797
    assert all(len(part) > 300 for part in parts.values())


@pytest.mark.parametrize("fold", range(5))
def test_fonts_of_the_symbols_are_disjoint_between_parts_and_all_used(fold):
    parts = symbols.split_fonts(fold)
    everything = [font for part in parts.values() for font in part]
    assert sorted(everything) == sorted(fonts.TARGET_FONTS)
    assert all(len(part) >= 2 for part in parts.values())


def test_five_folds_test_every_digit_and_every_font_once():
    tested = torch.cat([digits.split_digits(fold)["test"] for fold in range(5)])
    assert len(tested) == len(tested.unique()) == 1797
    fonts_tested = [font for fold in range(5) for font in symbols.split_fonts(fold)["test"]]
    assert sorted(fonts_tested) == sorted(fonts.TARGET_FONTS)


@pytest.mark.parametrize("name", ["digits10", "symbols100"])
@pytest.mark.parametrize("part", ["test", "validation"])
def test_clusters_name_the_sources_of_the_evaluation_images(name, part):
    data = catalogue.load(name, resolution=8, evaluate_on=part, fold=2)
    clusters = data.eval_sources
    assert clusters.shape == (len(data.eval_labels), 1)
    if name == "digits10":
        assert set(clusters.flatten().tolist()) == set(digits.split_digits(2)[part].tolist())
        assert torch.equal(digits._load_source()[1][clusters[:, 0]], data.eval_labels)
        repeats = digits.EVAL_REPEATS
    else:
        tested = {fonts.TARGET_FONTS[number] for number in clusters.flatten().tolist()}
        assert tested == set(symbols.split_fonts(2)[part])
        repeats = symbols.EVAL_REPEATS * len(symbols.SYMBOLS)
    assert set(clusters.flatten().bincount().tolist()) - {0} == {repeats}


@pytest.mark.parametrize("name", ["glyphs", "glyphs:pairs"])
def test_clusters_of_glyphs_are_the_fonts_of_the_evaluation(name):
    recipe = glyphs.RECIPES[name.partition(":")[2]]
    clusters = catalogue.load(name, resolution=8).eval_sources
    used = {recipe.fonts[number] for number in clusters.flatten().tolist()}
    assert used == set(glyphs.split(recipe)["test"])
    assert clusters.shape == (glyphs.EVAL_DRAWS, 2 if recipe.pairs else 1)


def test_evaluating_on_validation_uses_no_test_digit(monkeypatch):
    drawn = []
    original = digits._paint
    monkeypatch.setattr(
        digits, "_paint", lambda chosen, *a, **k: drawn.append(chosen) or original(chosen, *a, **k)
    )
    catalogue.load("digits10", resolution=8, evaluate_on="validation", fold=3)
    tests = set(digits.split_digits(3)["test"].tolist())
    assert len(drawn) == 2
    assert all(tests.isdisjoint(pool.tolist()) for pool in drawn)
    assert set(drawn[0].tolist()).isdisjoint(drawn[1].tolist())


@pytest.mark.parametrize("part", ["test", "validation"])
def test_training_symbols_use_no_font_of_the_evaluation(part, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        symbols,
        "render_characters",
        lambda font, text: drawn.append(font) or fonts.render_characters(font, text),
    )
    catalogue.load("symbols100", resolution=8, evaluate_on=part, fold=1)
    held = symbols.split_fonts(1)[part]
    train, evaluated = drawn[: -len(held)], drawn[-len(held) :]
    assert tuple(evaluated) == held
    assert set(train).isdisjoint({*held, *symbols.split_fonts(1)["test"]})


def test_no_source_task_uses_a_font_or_a_character_of_a_target():
    for recipe in glyphs.RECIPES.values():
        assert set(recipe.fonts).isdisjoint(fonts.TARGET_FONTS)
        assert set(recipe.letters + recipe.pairs).isdisjoint(symbols.SYMBOLS)


def correlate(one, other):
    """Return the correlations of bitmaps (A, 10, 10) and (B, 10, 10), as (A, B)."""
    flat = [shapes.flatten(1).float() for shapes in (one, other)]
    flat = [shapes - shapes.mean(dim=1, keepdim=True) for shapes in flat]
    one, other = (shapes / shapes.norm(dim=1, keepdim=True) for shapes in flat)
    return one @ other.T


def test_no_symbol_resembles_a_letter_a_digit_or_another_symbol():
    """Check the upper bound of 0.75 that bench/data/images/symbols.py states."""
    assert len(symbols.SYMBOLS) == len(set(symbols.SYMBOLS)) == 100
    drawn = {font: fonts.render_characters(font, symbols.SYMBOLS) for font in fonts.TARGET_FONTS}
    known = string.ascii_letters + string.digits
    phonetic = [fonts.render_characters(f, glyphs.PHONETIC) for f in fonts.PHONETIC_FONTS]
    unlike = [correlate(shapes, other) for shapes in drawn.values() for other in phonetic]
    assert torch.stack(unlike).mean(dim=0).max() < 0.75
    among = torch.stack([correlate(shapes, shapes) for shapes in drawn.values()]).mean(dim=0)
    assert (among - torch.eye(100)).max() < 0.75
    same = [correlate(shapes, fonts.render_characters(f, known)) for f, shapes in drawn.items()]
    assert torch.stack(same).mean(dim=0).max() < 0.75
    source = [
        correlate(shapes, fonts.render_characters(font, known))
        for shapes in drawn.values()
        for font in fonts.SOURCE_FONTS
    ]
    assert torch.stack(source).mean(dim=0).max() < 0.75


def test_the_bound_on_resemblance_rejects_letters_of_another_alphabet():
    """Compare Α (alpha) and A, which have the same shape in most fonts."""
    pairs = [correlate(*(fonts.render_characters(f, c) for c in "ΑA")) for f in fonts.TARGET_FONTS]
    assert torch.stack(pairs).mean() > 0.95


@pytest.mark.parametrize("variant", glyphs.RECIPES)
def test_fonts_of_the_three_parts_are_disjoint_and_classes_are_letters(variant):
    recipe = glyphs.RECIPES[variant]
    parts = glyphs.split(recipe)
    everything = [font for part in parts.values() for font in part]
    assert sorted(everything) == sorted(recipe.fonts)
    assert len(set(everything)) == len(everything)
    assert all(parts.values())
    for letters in (recipe.letters, recipe.pairs):
        assert all(letter.isalpha() for letter in letters)
        assert len(set(letters)) == len(letters)


def test_all_letters_of_a_font_have_different_shapes():
    drawn = [(font, glyphs.MIXED) for font in fonts.SOURCE_FONTS]
    drawn += [(font, glyphs.PHONETIC) for font in fonts.PHONETIC_FONTS]
    for font, letters in drawn:
        shapes = fonts.render_characters(font, letters).flatten(1).float()
        assert (shapes.amax(dim=1) > 100).all()
        distances = torch.cdist(shapes, shapes) + torch.eye(len(shapes)) * 1e9
        assert distances.min() > 200


def test_a_label_of_pairs_reads_left_to_right():
    data = catalogue.load("glyphs:pairs", resolution=32)
    letters = glyphs.RECIPES["pairs"].pairs
    narrow, wide = letters.index("J"), letters.index("B")
    left = {key: data.eval_images[data.eval_labels // 10 == key].float() for key in (narrow, wide)}

    # B has more ink than J. If they are on the left, only the left halves differ.
    def ink(images):
        return images.mean(dim=1).std(dim=(1, 2)).mean()

    differences = [
        ink(left[wide][..., half]) - ink(left[narrow][..., half])
        for half in (slice(16), slice(16, None))
    ]
    assert differences[0].abs() > 3 * differences[1].abs()


def test_fingerprints_differ_between_data_sets_and_depend_on_the_recipe(monkeypatch):
    prints = {name: catalogue.find_data_set(name).fingerprint(None) for name in EMBEDDED}
    assert len(set(prints.values())) == len(prints)
    assert all(len(text) == 16 and int(text, 16) >= 0 for text in prints.values())
    assert catalogue.find_data_set("digits10").fingerprint(None) == prints["digits10"]
    monkeypatch.setattr(digits, "RECIPE", digits.RECIPE + 1)
    assert catalogue.find_data_set("digits10").fingerprint(None) != prints["digits10"]


@pytest.mark.parametrize("name", ["digits10", "symbols100", "glyphs:upper", "glyphs:pairs"])
def test_classes_are_drawn_equally_often(name):
    data = catalogue.load(name, resolution=8)
    labels = [data.train_labels]
    if name != "digits10":  # its evaluation shows each held-out digit equally often
        labels.append(data.eval_labels)
    for part in labels:
        counts = torch.bincount(part)
        assert counts.max() - counts.min() <= 1


def test_the_noise_of_the_source_task_differs_between_images():
    corner = catalogue.load("glyphs", resolution=24).train_images[:500, :, :4, :4].float()
    quiet, loud = corner.std(dim=(2, 3)).mean(dim=1).quantile(torch.tensor([0.1, 0.9]))
    assert loud > 4 * quiet


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
