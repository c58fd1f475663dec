"""Tests of table files: stray quotes are refused; quoted line breaks and any file name are read."""

import csv
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.data.texts.table_file import read_table
from bench.errors import UserError

DELIMITERS = {".csv": ",", ".tsv": "\t"}


def write_unquoted(path, rows):
    delimiter = DELIMITERS[path.suffix]
    path.write_text("".join(delimiter.join(row) + "\n" for row in rows))
    return path


def make_unquoted(texts=1, label_first=False):
    """Return a header and 20 rows. Texts 3 and 9 contain one quote each, at opposite ends."""
    texts_of = [[f"text {i} of {k}" for k in range(texts)] for i in range(20)]
    texts_of[3][-1], texts_of[9][-1] = '"' + texts_of[3][-1], texts_of[9][-1] + '"'
    rows = [[*"abc"[:texts], "label"]] + [[*t, str(i % 2)] for i, t in enumerate(texts_of)]
    return [[row[-1], *row[:-1]] if label_first else row for row in rows]


@pytest.mark.parametrize("suffix", DELIMITERS)
@pytest.mark.parametrize("texts", [1, 2])
@pytest.mark.parametrize("label_first", [False, True])
def test_rows_that_a_stray_quote_joins_are_refused(tmp_path, suffix, texts, label_first):
    path = write_unquoted(tmp_path / f"a{suffix}", make_unquoted(texts, label_first))
    with pytest.raises(UserError, match="opens in line 5 makes one row of lines 5 to 11"):
        read_table(path)


@pytest.mark.parametrize("suffix", DELIMITERS)
@pytest.mark.parametrize("label_first", [False, True])
def test_quoted_texts_of_several_lines_are_read(tmp_path, suffix, label_first):
    mark = DELIMITERS[suffix]
    texts = [f"one{mark} two\nthree {i}" for i in range(6)] + [
        "a line\nand another",
        f"first{mark} line\nsecond{mark} line",
        f"{mark}\n\n{mark}",
        'said "so"\n"no"',
    ]
    rows = [["text", "label"]] + [[text, str(i % 2)] for i, text in enumerate(texts)]
    with (tmp_path / f"a{suffix}").open("w", newline="") as file:
        csv.writer(file, delimiter=mark).writerows(r[::-1] if label_first else r for r in rows)
    assert [row["text"] for row in read_table(tmp_path / f"a{suffix}")] == texts


def test_a_parquet_file_whose_name_is_not_utf_8_is_read(tmp_path):
    rows = [{"text": "one", "label": 0}, {"text": "two", "label": 1}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    path = (tmp_path / "a.parquet").rename(tmp_path / os.fsdecode(b"caf\xe9.parquet"))
    assert read_table(path) == rows
