"""Files of the parts of a text table: shards as on the Hugging Face hub."""

import pytest

from bench.data.catalogue import find_data_set
from bench.data.texts.table_sets import _load_parts
from bench.errors import UserError
from tests.support.text_tables import make_rows, write_table


def load(folder):
    _load_parts.cache_clear()  # a test changes the files between two calls
    data = find_data_set(f"texts:{folder}").load("test", None)
    return list(data.train), list(data.evaluation)


def write_shards(folder, split, rows, count=3, suffix=".parquet"):
    for i in range(count):
        part = rows[len(rows) * i // count : len(rows) * (i + 1) // count]
        write_table(folder / f"{split}-{i:05}-of-{count:05}{suffix}", part)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_shards_give_the_same_texts_as_one_file(tmp_path, suffix):
    rows = make_rows(60)
    for name in ("files", "shards"):
        (tmp_path / name).mkdir()
    for split, part in (("train", rows[:40]), ("test", rows[40:])):
        write_table(tmp_path / "files" / f"{split}.csv", part)
        write_shards(tmp_path / "shards", split, part, suffix=suffix)
    # The hub's imdb has a split without labels. It is not a part.
    write_shards(tmp_path / "shards", "unsupervised", rows[:9], 1, suffix)
    assert load(tmp_path / "shards") == load(tmp_path / "files")
    prints = {
        find_data_set(f"texts:{tmp_path / name}").fingerprint(None) for name in ("files", "shards")
    }
    assert len(prints) == 1


def test_missing_shards_are_refused(tmp_path):
    write_shards(tmp_path, "train", make_rows(60))
    (tmp_path / "train-00002-of-00003.parquet").unlink()
    with pytest.raises(UserError, match=r"one complete set of shards of train .*; download") as one:
        load(tmp_path)
    assert "\n" not in str(one.value)


@pytest.mark.parametrize("other", ["train.csv", "training-00000-of-00001.parquet"])
def test_shards_and_another_file_of_the_part_are_refused(tmp_path, other):
    rows = make_rows(60)
    write_shards(tmp_path, "train", rows)
    write_table(tmp_path / other, rows)
    with pytest.raises(UserError, match="are the same part; remove one of them"):
        load(tmp_path)


def test_a_train_part_in_a_subfolder_is_named(tmp_path):
    (tmp_path / "data").mkdir()
    write_shards(tmp_path / "data", "train", make_rows(60))
    with pytest.raises(UserError, match=r"its folder data has one; give texts:.*/data$"):
        load(tmp_path)
    assert load(tmp_path / "data")


def test_a_fault_in_a_shard_names_the_shards(tmp_path):
    rows = make_rows(60)
    rows[-1]["text"] = ""
    write_shards(tmp_path, "train", rows)
    with pytest.raises(UserError, match=r"train-00000-of-00003.parquet to train-00002-of-00003"):
        load(tmp_path)
