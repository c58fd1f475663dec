"""Files of the parts of a text table: shards as on the Hugging Face hub."""

from pathlib import Path

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


def catch_line(folder):
    with pytest.raises(UserError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_missing_shards_are_named(tmp_path):
    write_shards(tmp_path, "train", make_rows(60), 12)
    for number in (1, 2, 4, 5, 11):
        (tmp_path / f"train-{number:05}-of-00012.parquet").unlink()
    names = ", ".join(f"train-{number:05}-of-00012" for number in (1, 2, 4))
    assert f"{names} and 2 more are missing; download" in catch_line(tmp_path)


def test_shards_are_read_in_the_order_of_their_numbers(tmp_path):
    rows = make_rows(60)
    for i in range(12):
        write_table(tmp_path / f"train-{i}-of-12.csv", rows[5 * i : 5 * i + 5])
    write_table(tmp_path / "test.csv", rows)
    assert [s.first for s in load(tmp_path)[0]] == [row["text"] for row in rows]


@pytest.mark.parametrize(
    ("copy", "message"),
    [
        ("train-00001-of-00003-aaaa.parquet", "are the same shard; remove one of them"),
        ("train-00001-of-00003 (1).parquet", "are the same shard; remove one of them"),
        ("train-00000-of-00001.parquet", "state different numbers of shards; remove"),
    ],
)
def test_a_shard_that_is_there_twice_is_refused(tmp_path, copy, message):
    write_shards(tmp_path, "train", make_rows(60))
    (tmp_path / copy).write_bytes((tmp_path / "train-00001-of-00003.parquet").read_bytes())
    assert message in catch_line(tmp_path)


@pytest.mark.parametrize("name", ["test.parquet", "test-00000-of-00001.parquet"])
def test_a_link_to_a_missing_file_is_refused(tmp_path, name):
    # The cache of the hub holds links to files in another folder.
    write_shards(tmp_path, "train", make_rows(60))
    (tmp_path / name).symlink_to(tmp_path / "blobs" / "0123")
    assert f"{name} is a link to a file that does not exist; download" in catch_line(tmp_path)


@pytest.mark.parametrize("suffix", [".json", ".txt", "", ".parquet.gz"])
def test_a_shard_of_a_part_in_a_format_that_is_not_read_is_refused(tmp_path, suffix):
    write_shards(tmp_path, "train", make_rows(60))
    (tmp_path / f"test-00000-of-00001{suffix}").write_text("more")
    assert f"test-00000-of-00001{suffix} looks like the test part" in catch_line(tmp_path)


def test_shards_with_different_columns_are_refused(tmp_path):
    rows = make_rows(60)
    write_shards(tmp_path, "train", rows)
    other = [{"sentence": row["text"], "label": row["label"]} for row in rows[:20]]
    write_table(tmp_path / "train-00002-of-00003.parquet", other)
    line = catch_line(tmp_path)
    assert "train-00000-of-00003.parquet has the columns text, label, but" in line
    assert "train-00002-of-00003.parquet has the columns sentence, label; save" in line


def test_a_shard_may_be_empty_but_not_the_part(tmp_path):
    rows = make_rows(60)
    write_shards(tmp_path, "train", rows, suffix=".jsonl")
    write_table(tmp_path / "test.csv", rows[:9])
    (tmp_path / "train-00001-of-00003.jsonl").write_text("")
    assert len(load(tmp_path)[0]) == 40
    for shard in tmp_path.glob("*.jsonl"):
        shard.write_text("")
    assert "contain no rows" in catch_line(tmp_path)


@pytest.mark.parametrize("name", ["train.csv", "train.jsonl", "train-00000-of-00001.parquet"])
def test_a_pointer_of_git_lfs_is_recognised(tmp_path, name):
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
    (tmp_path / name).write_text(text)
    assert "is a pointer of Git LFS, not the file itself" in catch_line(tmp_path)


def test_a_date_out_of_range_in_another_column_is_one_line(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = make_rows(20)
    table = pa.table({
        **{key: [row[key] for row in rows] for key in ("text", "label")},
        "day": pa.array([10**15] * len(rows), pa.timestamp("s")),
    })  # fmt: skip
    pq.write_table(table, tmp_path / "train.parquet")
    assert "train.parquet: cannot be read" in catch_line(tmp_path)


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
    assert catch_line(tmp_path).endswith(f"its folder data has one; give texts:{tmp_path}/data")
    assert load(tmp_path / "data")
    (tmp_path / "more").mkdir()
    write_shards(tmp_path / "more", "train", make_rows(60))
    assert f"its folders data, more have one; give texts:{tmp_path}/data or" in catch_line(tmp_path)


def test_an_unreadable_folder_is_one_line(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert f"{tmp_path} cannot be read (Permission denied)" in catch_line(tmp_path)


def test_a_fault_in_a_shard_names_the_shards(tmp_path):
    rows = make_rows(60)
    rows[-1]["text"] = ""
    write_shards(tmp_path, "train", rows)
    with pytest.raises(UserError, match=r"train-00000-of-00003.parquet to train-00002-of-00003"):
        load(tmp_path)
