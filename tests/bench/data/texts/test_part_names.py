"""Parts of a text table: names of files and folders, hidden labels, and parts that are not read."""

import pytest

from bench.data.catalogue import find_data_set
from bench.data.texts.part_names import refuse_unread_splits
from bench.data.texts.table_sets import _load_parts
from bench.errors import UserError
from tests.support.text_tables import make_rows, write_table


def load(folder):
    _load_parts.cache_clear()  # a test changes the files between two calls
    data = find_data_set(f"texts:{folder}").load("test", None)
    return data.classes, list(data.train), list(data.evaluation)


def write_train(folder):
    rows = make_rows(40)
    write_table(folder / "train.csv", rows[:20])
    return rows


@pytest.mark.parametrize("name", ["testing.csv", "eval.csv", "Evaluation.csv", "validate.csv"])
def test_other_names_of_the_evaluation_part_are_read(tmp_path, name):
    rows = make_rows(40)
    write_table(tmp_path / "train.csv", rows[:20])
    write_table(tmp_path / name, rows[20:])
    assert [s.first for s in load(tmp_path)[2]] == [r["text"] for r in rows[20:]]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["test.csv.gz"], "test.csv.gz looks like the test part .*; convert it to test.csv, or"),
        (["test.json"], "test.json looks like the test part"),
        (["testing.txt"], "testing.txt looks like the test part"),
        (["eval.XLSX"], "eval.XLSX looks like the test part .*; convert it to test.csv"),
        (["dev.json"], "dev.json looks like the validation part .* convert it to validation.csv"),
        (["test_matched.tsv"], "test_matched.tsv looks like .*; rename it to test.tsv, or move"),
        (["test-0.csv", "test-1.csv"], "join all files of this part in test.csv"),
        (["test.csv", "eval.csv"], "eval.csv and test.csv are the same part; .* or rename it"),
    ],
)
def test_a_part_in_a_file_that_is_not_read_is_refused(tmp_path, files, message):
    write_table(tmp_path / "train.csv", make_rows(20))
    for file in files:
        (tmp_path / file).write_text((tmp_path / "train.csv").read_text())
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_split_that_would_not_be_read_is_refused():
    refuse_unread_splits(["train", "unsupervised"], "test", "datasets:imdb")
    with pytest.raises(
        UserError, match=r"validation_matched looks like the validation part .*validation.csv"
    ):
        refuse_unread_splits(["train", "validation_matched"], "validation", "datasets:mnli")


def test_other_files_of_a_folder_are_ignored(tmp_path):
    for name in ("train.csv", "test.csv"):
        write_table(tmp_path / name, make_rows(20))
    before = load(tmp_path)
    for name in ("train.log", "test.json", "test_2.csv", "dev-notes.txt", "tests.csv", "data.csv"):
        (tmp_path / name).write_text("more")
    assert load(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reviews_test.csv", "reviews_test.csv looks like the test part .*; rename it to test.csv"),
        ("data_test.parquet", "data_test.parquet .*; rename it to test.parquet, or move it"),
        ("reviewsTest.csv", "reviewsTest.csv looks like the test part"),
        ("reviews-dev.csv", "reviews-dev.csv looks like the validation part"),
        ("reviews_test.csv.gz", "reviews_test.csv.gz .* convert it to test.csv"),
        ("my_test.xlsx", "my_test.xlsx .* convert it to test.csv"),
        ("test/data.csv", "the folder test looks like the test part .*; join all .* in test.csv"),
        ("test/a/data.csv.gz", "the folder test looks like the test part"),
        ("validation/0.arrow", "the folder validation looks like the validation part"),
    ],
)
def test_any_word_of_a_name_can_name_a_part(tmp_path, name, message):
    rows = write_train(tmp_path)
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    write_table(tmp_path / "x.csv", rows[20:]).rename(tmp_path / name)
    with pytest.raises(UserError, match=message) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "latest.csv",
        "contest.parquet",
        "train_no_test.csv",
        "train_val.csv",
        "train_test_notes.txt",
        "my_test_notes.txt",
        "my_test.json",
        "._test.csv",
        "~test.xlsx",
        "test_code/run.py",
    ],
)
def test_names_that_name_no_part_are_ignored(tmp_path, name):
    write_train(tmp_path)
    before = load(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("more")
    assert load(tmp_path) == before


def test_splits_whose_later_word_names_a_part_are_refused():
    refuse_unread_splits(["train", "train_val", "train_test"], "test", "datasets:a")
    with pytest.raises(UserError, match="its split matched_test looks like the test part"):
        refuse_unread_splits(["train", "matched_test"], "test", "datasets:a")


@pytest.mark.parametrize("split", ["train", ""])
def test_a_folder_of_save_to_disk_names_the_way_out(tmp_path, split):
    (tmp_path / split).mkdir(exist_ok=True)
    for file in ("data-00000-of-00001.arrow", "state.json", "dataset_info.json"):
        (tmp_path / split / file).write_text("{}")
    if split:
        (tmp_path / "dataset_dict.json").write_text("{}")
    wanted = (
        r"written by save_to_disk, .*load_from_disk\('\S+'\)(\['train'\])?\.to_parquet\(\"train"
    )
    with pytest.raises(UserError, match=wanted) as caught:
        load(tmp_path)
    assert ("['train']" in str(caught.value)) == bool(split)


def test_a_test_part_with_hidden_labels_is_not_used(tmp_path):
    rows = make_rows(40)
    write_table(tmp_path / "train.csv", rows[:20])
    write_table(tmp_path / "validation.csv", rows[20:])
    write_table(tmp_path / "test.csv", [{**row, "label": "-1"} for row in rows])
    assert [s.first for s in load(tmp_path)[2]] == [r["text"] for r in rows[20:]]


def test_a_test_part_whose_first_row_alone_lacks_a_label_is_refused(tmp_path):
    write_table(tmp_path / "train.csv", make_rows(10))
    write_table(tmp_path / "test.jsonl", [{"text": "a"}, *make_rows(4)])
    with pytest.raises(UserError, match=r"test\.jsonl, row 1: has no 'label'; remove the row"):
        load(tmp_path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize("names", [{"good": "good", "bad": "bad"}, {"good": "+", "bad": "-"}])
def test_labels_of_the_test_part_in_another_column_are_refused(tmp_path, suffix, names):
    rows = write_train(tmp_path)
    renamed = [{"text": row["text"], "Label": names[row["label"]]} for row in rows[20:]]
    write_table(tmp_path / f"test{suffix}", renamed)
    with pytest.raises(UserError, match=r"no column 'label', and its column 'Label' .*; rename it"):
        load(tmp_path)


@pytest.mark.parametrize("extra", [{}, {"index": ""}, {"split": "test"}])
def test_a_test_part_without_labels_may_have_numbers_of_rows(tmp_path, extra):
    rows = write_train(tmp_path)
    before = load(tmp_path)
    hidden = [
        {"text": row["text"], **({k: v or str(i) for k, v in extra.items()})}
        for i, row in enumerate(rows[20:])
    ]
    write_table(tmp_path / "test.csv", hidden)
    assert load(tmp_path) == before
