"""Tests of GLUE's files: both distributions are read, and errors name the invalid line."""

import pytest

from bench.data.texts import glue
from bench.errors import UserError

HEADER = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String"


def mrpc_line(i, label):
    return f'{label}\t{i}\t{i + 1}\tHe said "{i} pies .\tSo he said , {i} pies .'


def cola_line(i, label):
    return f"gj04\t{label}\t{'' if label else '*'}\tThe {i} sailors rode."


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\ufeff" + "\r\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def root(tmp_path):
    write(tmp_path / "mrpc/train.tsv", [HEADER, *(mrpc_line(i, int(i % 3 > 0)) for i in range(60))])
    write(tmp_path / "mrpc/dev.tsv", [HEADER, *(mrpc_line(i, i % 2) for i in range(100, 110))])
    return tmp_path


@pytest.fixture
def cola(tmp_path):
    """Write the same texts as CoLA's authors distribute them and as GLUE's archive has them."""
    train = [cola_line(i, int(i % 4 > 0)) for i in range(40)]
    within, beyond = ([cola_line(i, 1) for i in range(n, n + 5)] for n in (50, 60))
    write(tmp_path / "public/cola/in_domain_train.tsv", train)
    write(tmp_path / "public/cola/in_domain_dev.tsv", within)
    write(tmp_path / "public/cola/out_of_domain_dev.tsv", beyond)
    write(tmp_path / "glue/CoLA/train.tsv", train)
    write(tmp_path / "glue/CoLA/dev.tsv", within + beyond)
    return tmp_path


def test_mrpc_texts_keep_unpaired_quotes(root):
    data = glue.GlueSet("mrpc").load("test", root)
    assert (len(data.train), len(data.evaluation), data.metric) == (60, 10, "accuracy")
    assert data.train[1].first == 'He said "1 pies .'
    assert data.train[1].second == "So he said , 1 pies ."
    assert [text.label for text in data.train[:4]] == [0, 1, 1, 0]


def test_cola_is_the_same_in_both_distributions(cola):
    public, packed = (glue.GlueSet("cola").load("test", cola / name) for name in ("public", "glue"))
    assert public == packed
    assert (len(public.train), len(public.evaluation), public.metric) == (40, 10, "matthews")
    prints = {glue.GlueSet("cola").fingerprint(cola / name) for name in ("public", "glue")}
    assert len(prints) == 1


def test_the_data_root_may_be_the_folder_of_the_task(cola):
    assert glue.GlueSet("cola").load("test", cola / "glue/CoLA") == glue.GlueSet("cola").load(
        "test", cola / "glue"
    )


def test_validation_is_held_out_of_training_and_excludes_dev(cola):
    whole = glue.GlueSet("cola").load("test", cola / "public")
    data = glue.GlueSet("cola").load("validation", cola / "public")
    assert set(data.train) | set(data.evaluation) == set(whole.train)
    assert not set(data.train) & set(data.evaluation)
    assert not set(data.evaluation) & set(whole.evaluation)
    assert len(data.evaluation) == 4  # a tenth of each class


def test_the_fingerprint_depends_on_the_contents(cola):
    before = glue.GlueSet("cola").fingerprint(cola / "glue")
    path = cola / "glue/CoLA/dev.tsv"
    write(path, path.read_text("utf-8-sig").splitlines()[:-1])
    assert glue.GlueSet("cola").fingerprint(cola / "glue") != before


BAD = {
    "two fields": "gj04\t1",
    "a field too many": "gj04\t1\t\tThe boy ran.\tagain",
    "a label that is none": "gj04\t2\t\tThe boy ran.",
    "no label": "gj04\t\t\tThe boy ran.",
    "no sentence": "gj04\t1\t\t  ",
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD)
def test_the_error_for_an_invalid_line_names_its_number(cola, line):
    path = cola / "glue/CoLA/train.tsv"
    write(path, [cola_line(0, 1), line, cola_line(2, 1)])
    with pytest.raises(UserError, match=r"train\.tsv, line 2: .*label 0 or 1") as caught:
        glue.GlueSet("cola").load("test", cola / "glue")
    assert "\n" not in str(caught.value)


def test_missing_empty_and_binary_files_are_one_line_errors(tmp_path, cola):
    (cola / "glue/CoLA/dev.tsv").write_bytes(b"\n")
    (cola / "public/cola/in_domain_dev.tsv").write_bytes(b"\xff\xfe\x00")
    for root, words in ((tmp_path, "--data-root"), (cola / "glue", "no texts"),
                        (cola / "public", "cannot be read")):  # fmt: skip
        with pytest.raises(UserError, match=words) as caught:
            glue.GlueSet("cola").load("test", root)
        assert "\n" not in str(caught.value)


def test_the_error_without_files_and_the_datasets_library_names_the_option(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)  # importing it raises ImportError
    with pytest.raises(UserError, match=r"mrpc: download failed .*--data-root DIR"):
        glue.GlueSet("mrpc").load("test", None)
