"""Text tables as data sets: formats, columns, parts, labels and faults."""

import json
from pathlib import Path

import pytest

from bench.data.catalogue import describe, find_data_set, holds_texts
from bench.data.texts.dataset import TextSample
from bench.errors import UserError
from tests.support.text_tables import make_rows, write_table


def load(name, evaluate_on="test"):
    data = find_data_set(name).load(evaluate_on, None)
    return data.classes, list(data.train), list(data.evaluation)


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet"])
def test_each_format_gives_the_same_texts(tmp_path, suffix):
    rows = [*make_rows(30), {"text": 'Said "NA, null", then\tleft', "label": "good"}]
    one, other = (write_table(tmp_path / f"a{end}", rows) for end in (".csv", suffix))
    assert load(f"texts:{one}") == load(f"texts:{other}")
    prints = {find_data_set(f"texts:{path}").fingerprint(None) for path in (one, other)}
    assert len(prints) == 1
    assert holds_texts(f"texts:{one}")


def test_parts_of_one_file_do_not_overlap(tmp_path):
    path = write_table(tmp_path / "all.csv", make_rows(100))
    classes, train, test = load(f"texts:{path}")
    assert (classes, len(train), len(test)) == (2, 80, 20)
    _, rest, validation = load(f"texts:{path}", "validation")
    assert sorted(map(repr, rest + validation)) == sorted(map(repr, train))
    facts = describe(f"texts:{path}")
    assert (facts.classes, facts.train_samples, facts.length % 8) == (2, 80, 0)


@pytest.mark.parametrize(
    ("parts", "test", "validation"),
    [
        (("train", "val", "test"), "test", "val"),
        (("train", "dev"), "dev", None),
        (("train", "test"), "test", None),
    ],
)
def test_parts_of_a_folder(tmp_path, parts, test, validation):
    rows = make_rows(60)
    own = {part: rows[i * 20 : i * 20 + 20] for i, part in enumerate(parts)}
    for part, content in own.items():
        write_table(tmp_path / f"{part}.jsonl", content)
    texts = {part: [row["text"] for row in content] for part, content in own.items()}
    assert [s.first for s in load(f"texts:{tmp_path}")[2]] == texts[test]
    _, train, held = load(f"texts:{tmp_path}", "validation")
    if validation:
        assert [s.first for s in held] == texts[validation]
    assert {s.first for s in (train if validation else train + held)} == set(texts["train"])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.replace("text,label", '"text", label '),
    ],
)
def test_csv_files_of_other_programs_give_the_same_texts(tmp_path, change):
    plain = write_table(tmp_path / "plain.csv", make_rows(20))
    other = tmp_path / "Other.CSV"
    other.write_text(change(plain.read_text()), newline="")
    assert load(f"texts:{other}") == load(f"texts:{plain}")


def test_names_of_parts_may_be_in_capitals(tmp_path):
    for name in ("Train.CSV", "TEST.csv"):
        write_table(tmp_path / "x.csv", make_rows(20)).rename(tmp_path / name)
    assert len(load(f"texts:{tmp_path}")[2]) == 20


def test_columns_by_name_and_by_guess(tmp_path):
    rows = [
        {"id": "7", "a": f"first {i}", "b": f"second {i}", "stars": str(i % 3)} for i in range(12)
    ]
    path = write_table(tmp_path / "pairs.csv", rows)
    classes, train, test = load(f"texts:{path}#a,b,stars")
    assert classes == 3
    assert TextSample("first 4", "second 4", 1) in train + test
    _, train_alone, test_alone = load(f"texts:{path}#a,stars")
    assert TextSample("first 4", "", 1) in train_alone + test_alone
    guessed = [{"premise": r["a"], "hypothesis": r["b"], "label": r["stars"]} for r in rows]
    other = write_table(tmp_path / "nli.csv", guessed)
    assert load(f"texts:{other}") == (classes, train, test)


def test_labels_are_ordered_as_numbers_and_independent_of_their_type(tmp_path):
    labels = [2, 10, 2.0, "10", 10.0, 2, "2", 10]
    rows = [{"text": f"text {i}", "label": label} for i, label in enumerate(labels)]
    (tmp_path / "train.jsonl").write_text("\n".join(map(json.dumps, rows)))
    write_table(tmp_path / "test.csv", [{"text": "more", "label": "10.0"}])
    classes, train, test = load(f"texts:{tmp_path}")
    assert classes == 2
    assert [s.label for s in train] == [0, 1, 0, 1, 1, 0, 0, 1]
    assert test == [TextSample("more", "", 1)]


GOOD = "text,label\n" + "".join(f"text {i},{i % 2}\n" for i in range(8))
FAULTS = {
    "a.csv": (GOOD + ",1\n", r"a\.csv, row 9: has no text in column 'text'"),
    "b.csv": (GOOD + "text,\n", r"b\.csv, row 9: has no label"),
    "c.csv": (GOOD + "text,1,more\n", r"c\.csv: cannot be read .*line 10"),
    "m.csv": ("text,label\n" + "a, b,1\nc, d,0\n" * 9, "line 2, saw 3.*quote each text"),
    "n.csv": ("text,text,label\n" + "a,b,1\n" * 9, "two columns have the name 'text'"),
    "o.csv": (b"text,label\ncaf\xe9,1\n", "save the file in UTF-8"),
    "d.csv": ("words,kind\na,b\n", r"name them as #TEXT,LABEL .*its columns: 'words', 'kind'"),
    "e.csv": (
        "text,label\n" + "".join(f"t,{i}\n" for i in range(30)),
        r"from 2 to 15 different values \(rows: 30\), but holds 30",
    ),
    "f.csv": ("text,label\nt,0.5\n", r"f\.csv, row 1: the label 0\.5 is no class"),
    "g.csv": ("text,label\n", "contains no rows"),
    "h.xlsx": ("", r"use a file that ends in \.csv, \.tsv"),
    "i.jsonl": ('{"text": "a", "label": 1}\n{"text":\n', "line 2"),
    "j.jsonl": ('{"text": "a", "label": 0.5}\n', r"row 1: the label 0\.5 is no class"),
    "k.parquet": ("no parquet", "cannot be read"),
    "l.csv": ("", "contains no rows"),
    "p.tsv": (GOOD.replace(",", "\t").replace("text 2", '"text 2') + '"text\t1\n', "quotes twice"),
    "q.csv": (GOOD + '"text,1\n', "line 10: .*quotes twice"),
    "s.csv": (GOOD.replace(",", ";"), r"s\.csv: its header 'text;label' has .* file with ','"),
    "x.csv": (GOOD.replace(",", "|"), r"has the delimiter '\|' instead of ','"),
    "y.csv": (GOOD.replace(",", "\t"), r"has the delimiter '\\t' .*; give the file .* \.tsv"),
    "r.csv": (GOOD + "text\n", "expected 2 values in line 10, saw 1"),
    "u.jsonl": (
        '{"text": "a \\ud83d b", "label": 1}\n{"text": "c", "label": 0}\n',
        r"u\.jsonl, row 1: the text in column 'text' contains '\\ud83d', which is not a character",
    ),
    "v.jsonl": (
        '{"text": 7, "label": 1}\n{"text": "c", "label": 0}\n',
        r"v\.jsonl, row 1: column 'text' contains a value of type int, not a text",
    ),
    "w.jsonl": (
        '{"text": "a"}\n{"text": "c", "label": 0}\n',
        r"w\.jsonl, row 1: has no 'label'; remove the row",
    ),
    "t.jsonl": ("[" * 100_000, "cannot be read"),
}


@pytest.mark.parametrize("file", FAULTS)
def test_faulty_files_are_refused_by_one_line(tmp_path, file):
    content, message = FAULTS[file]
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message) as caught:
        load(f"texts:{tmp_path / file}")
    assert "\n" not in str(caught.value)


def test_faulty_names_are_refused(tmp_path):
    path = write_table(tmp_path / "a.csv", make_rows(10))
    wrong = {
        f"texts:{path}#text": "give one or two text columns and the label column",
        f"texts:{path}#words,label": "has no column 'words'; its columns: 'text', 'label'",
        f"texts:{tmp_path / 'none.csv'}": "there is no file or folder",
        f"texts:{tmp_path}": "has no train file",
        "texts:": "no file or folder is given; write texts:PATH",
    }
    for name, message in wrong.items():
        with pytest.raises(UserError, match=message):
            load(name)


def test_paths_and_columns_may_contain_the_mark_of_columns(tmp_path):
    folder = tmp_path / "C#"
    folder.mkdir()
    plain = write_table(tmp_path / "a.csv", make_rows(20))
    other = write_table(folder / "r.csv", make_rows(20))
    for name in (f"{other}", f"{other}#text,label", f"{folder}/r.csv# text , label"):
        assert load(f"texts:{name}") == load(f"texts:{plain}")
    for path in (other, tmp_path / "b.csv"):
        path.write_text(plain.read_text().replace("text,label", "#1 String,Quality #"))
        assert load(f"texts:{path}##1 String,Quality #") == load(f"texts:{plain}")


def test_the_error_for_an_unknown_minus_one_says_what_it_means(tmp_path):
    write_table(tmp_path / "train.csv", make_rows(10))
    write_table(tmp_path / "dev.csv", [{"text": "more", "label": "-1"}])
    with pytest.raises(UserError, match=r"dev\.csv, row 1: .*; -1 usually means no label, so rem"):
        load(f"texts:{tmp_path}")


def test_an_unknown_class_in_the_test_part_is_refused(tmp_path):
    write_table(tmp_path / "train.csv", make_rows(10))
    write_table(tmp_path / "test.csv", [{"text": "more", "label": "new"}])
    with pytest.raises(UserError, match=r"test\.csv, row 1: the label 'new' is not among"):
        load(f"texts:{tmp_path}")


def test_the_datasets_library_reads_the_same_texts(tmp_path: Path):
    folder = tmp_path / "reviews"
    folder.mkdir()
    rows = make_rows(40)
    write_table(folder / "train.csv", rows[:30])
    write_table(folder / "test.csv", rows[30:])
    try:
        import datasets  # noqa: F401  # only whether it can be imported
    except ImportError:
        with pytest.raises(UserError, match=r"needs the datasets library; install it with `pip"):
            load(f"datasets:{folder}")
        return
    assert load(f"datasets:{folder}") == load(f"texts:{folder}")
    with pytest.raises(UserError, match="cannot be loaded"):
        load(f"datasets:{tmp_path / 'none'}")
