"""Runs on texts: pairing, resume, FLOPs by length, initial weights and vocabularies."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.batches.factory import make_batches
from bench.batches.order import IGNORED_LABEL
from bench.data.catalogue import load_texts
from bench.data.texts.dataset import TextSample
from bench.data.texts.grammar.words import build_vocabulary
from bench.errors import Stopped, UserError
from bench.models.anatomy import analyze_model
from bench.models.texts.catalogue import list_text_models
from bench.models.texts.tokenizer import load_tokenizer, tokenize
from bench.planning.run_inputs import resolve_inputs
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from bench.training.components import make_initial_model
from bench.training.loop import execute
from tests.support.device import DEVICE
from tests.support.paths import ROOT
from tests.support.tiny_runs import execute_run, load_essence, load_weights

CPU = torch.device("cpu")


def tiny(strategy: str = "full", files: dict | None = None, **changes) -> Spec:
    """Return a spec of two epochs of 6 steps on sentences of the grammar."""
    options = {"autofreeze": {"M": 3, "N": 90}}.get(strategy, {})
    values = {
        "model": "laptop_bert", "data": "grammar:acceptability", "strategy": strategy,
        "options": options, "epochs": 2, "train_limit": 192, "optimizer": "adamw", "lr": 1e-3,
        "device": DEVICE.type,
    }  # fmt: skip
    return resolve_inputs(Spec.from_dict({**values, **changes}), "laptop", files)


def test_runs_with_one_seed_have_identical_weights_until_the_first_freeze(tmp_path: Path) -> None:
    full, freezing = tiny(keep_model=True), tiny("autofreeze", keep_model=True)
    one, other = execute_run(full, tmp_path), execute_run(freezing, tmp_path)
    at = [layer["frozen_at_step"] for layer in other["layers"]]
    first = min(step for step in at if step is not None)
    assert 0 < first < one["steps"]
    stopped = [partial_weights(spec, tmp_path / spec.id, first) for spec in (full, freezing)]
    assert all(torch.equal(stopped[0][k], stopped[1][k]) for k in stopped[0])
    assert not torch.equal(
        load_weights(full, tmp_path)["classifier.weight"],
        load_weights(freezing, tmp_path)["classifier.weight"],
    )


def partial_weights(spec: Spec, results: Path, steps: int) -> dict[str, torch.Tensor]:
    """Return the weights of a run after `steps` steps."""
    stop_after(spec, results, steps)
    return torch.load(RunFolder(results, spec.id).checkpoint, weights_only=False)["model"]


def stop_after(spec: Spec, results: Path, steps: int) -> None:
    done = []
    with pytest.raises(Stopped):
        execute(spec, results, stop=lambda: len(done) >= steps - 1 or bool(done.append(0)))


@pytest.mark.parametrize("strategy", ["full", "autofreeze", "smartfrz"])
def test_stopping_does_not_change_a_run(tmp_path: Path, strategy: str) -> None:
    spec = tiny(strategy, keep_model=True)
    execute_run(spec, tmp_path / "straight")
    for steps in (4, 3):
        stop_after(spec, tmp_path / "broken", steps)
    execute_run(spec, tmp_path / "broken")
    assert load_essence(spec, tmp_path / "straight") == load_essence(spec, tmp_path / "broken")
    first, second = (load_weights(spec, tmp_path / place) for place in ("straight", "broken"))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_the_flops_of_a_run_are_the_sum_over_its_batches(tmp_path: Path) -> None:
    spec = tiny(train_limit=40, batch_size=4)
    result = execute_run(spec, tmp_path)
    batches, classes = make_batches(spec, CPU)
    expected, lengths = 0.0, set()
    for step in range(result["steps"]):
        inputs, labels = batches.batch(step)
        length = inputs[0].shape[1]
        assert length % 8 == 0
        lengths.add(length)
        expected += analyze_model(spec.model, classes, length)[1].exact().total * len(labels)
    assert len(lengths) > 1
    assert result["flops"]["exact"]["total"] == expected
    assert result["flops"]["full_exact"] == pytest.approx(expected, rel=1e-12)
    state = result["freeze_states"][0]
    assert sum(state["sizes"].values()) == state["samples"] == 80
    assert state["measured_size"] == max(lengths)


def test_a_probe_costs_the_flops_of_its_own_length(tmp_path: Path) -> None:
    """Probe 96 texts, whose longest is longer than that of most batches of 4."""
    spec = tiny("auto_rgn", options={"samples": 96}, train_limit=96, batch_size=4, epochs=1)
    result = execute_run(spec, tmp_path)
    batches, classes = make_batches(spec, CPU)
    length = batches.probe(96)[0].shape[1]
    a_probe = 96 * analyze_model(spec.model, classes, length)[1].exact().total
    assert result["flops"]["decide"] == a_probe > 1.02 * result["flops"]["full_exact"]


def test_layers_frozen_from_the_start_do_not_change(tmp_path: Path) -> None:
    spec = tiny("probe", keep_model=True)
    execute_run(spec, tmp_path)
    layers, _ = analyze_model(spec.model, 2, 8)
    began = make_initial_model(spec, 2, layers, tmp_path).state_dict()
    ended = load_weights(spec, tmp_path)
    moved = {k for k in began if not torch.equal(began[k], ended[k])}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_fine_tuning_starts_from_the_pretrained_body(tmp_path: Path) -> None:
    artifact = tiny(model="laptop_bert_mlm", data="grammar", epochs=1, keep_model=True)
    result = execute_run(artifact, tmp_path)
    assert result["metric"] == "accuracy"
    assert result["eval_count"] > 500  # counts masked words, not texts
    learnt = load_weights(artifact, tmp_path)
    source = {"weights": f"run:{artifact.id}", "weights_may_lack": "bert.pooler"}
    layers = analyze_model("laptop_bert", 2, 8)[0]
    models = [make_initial_model(tiny(seed=s, **source), 2, layers, tmp_path)
              for s in (0, 1)]  # fmt: skip
    for model in models:
        body = {k: v for k, v in model.state_dict().items() if k in learnt}
        assert len(body) == 69
        assert all(torch.equal(v, learnt[k]) for k, v in body.items())
    assert not torch.equal(models[0].classifier.weight, models[1].classifier.weight)
    assert tiny(**source).needs == (artifact.id,)
    with pytest.raises(UserError, match=r"lacks 2 tensors: bert\.pooler"):
        execute(tiny(weights=f"run:{artifact.id}"), tmp_path)


def test_only_masked_words_are_predicted() -> None:
    spec = tiny(model="laptop_bert_mlm", data="grammar", batch_size=64)
    batches, words = make_batches(spec, CPU)
    (shown, real, _), labels = batches.batch(0)
    asked = labels != IGNORED_LABEL
    assert asked.any(1).all()
    assert not (asked & ~real[:, 0, 0]).any()
    assert (labels[asked] >= 5).all()
    assert ((shown == labels) | ~asked | (shown == 4) | (shown >= 5)).all()
    assert 0.15 < float(asked.sum()) / float(((shown >= 4) & real[:, 0, 0]).sum()) < 0.3
    assert 0.4 < float((shown[asked] == 4).float().mean()) < 0.6
    assert 0.15 < float((shown == labels)[asked].float().mean()) < 0.35
    assert words == len(build_vocabulary())
    again = make_batches(spec, CPU)[0].batch(0)
    assert torch.equal(again[0][0], shown)
    assert torch.equal(again[1], labels)


def test_labels_belong_to_their_texts_and_padding_is_masked() -> None:
    spec = tiny(train_limit=50, batch_size=7)
    batches, _ = make_batches(spec, CPU)
    known = {text.first: text.label for text in load_texts(spec.data, "test", "", 50).train}
    tokenizer = load_tokenizer(list_text_models()[spec.model], None)
    seen = []
    for step in range(batches.steps_per_epoch):
        (ids, real, segments), labels = batches.batch(step)
        assert (ids[~real[:, 0, 0]] == 0).all()
        assert not segments.any()
        for row, mask, label in zip(ids, real[:, 0, 0], labels, strict=True):
            text = " ".join(tokenizer.convert_ids_to_tokens(row[mask][1:-1].tolist()))
            assert known[text] == int(label)
            seen.append(text)
    assert sorted(seen[:49]) == sorted(set(seen))  # 50 = 7 × 7 + 1; the last text is dropped


def test_incompatible_models_and_data_give_a_one_line_error(tmp_path: Path) -> None:
    wrong = [
        ({"model": "laptop_vgg11", "resolution": 24}, "but laptop_vgg11 needs images"),
        ({"data": "digits10"}, "contains images, but laptop_bert needs texts"),
        ({"data": "grammar"}, "whose name ends in _mlm"),
        ({"model": "laptop_bert_mlm"}, "whose name ends in _mlm"),
    ]
    for changes, message in wrong:
        with pytest.raises(UserError, match=message) as caught:
            execute(tiny(**changes), tmp_path)
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=r"% of its tokens are words or signs that"):
        tokenize(
            load_tokenizer(list_text_models()["laptop_bert"], None),
            [TextSample("Sphinx of black quartz")],
            16,
            "mine",
        )


def test_the_vocabulary_is_passed_or_found_next_to_the_weights(tmp_path: Path) -> None:
    words = tmp_path / "vocab.txt"
    words.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nsail\n##ors\n")
    weights_file = tmp_path / "model.safetensors"
    weights_file.write_bytes(b"only its hash is used here")
    base = {"model": "bert-base-uncased"}
    named = tiny(**base, files={"vocab": str(words)})
    next_to_weights = tiny(**base, weights="file", files={"weights": str(weights_file)})
    published = tiny(**base)
    assert (
        named.contents["vocab"] == next_to_weights.contents["vocab"] != published.contents["vocab"]
    )
    tokenizer = load_tokenizer(list_text_models()["bert-base-uncased"], Path(named.paths["vocab"]))
    assert tokenizer("Sailors sail")["input_ids"] == [2, 5, 6, 5, 3]
    words.write_text("[PAD]\nsail\n")
    with pytest.raises(UserError, match=r"lacks \[UNK\].*pass the vocab\.txt of bert-base"):
        load_tokenizer(list_text_models()["bert-base-uncased"], words)


def test_a_failed_download_of_the_vocabulary_gives_a_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import huggingface_hub

    def offline(*_: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(UserError, match=r"cannot download .*\(no network\); pass --vocab FILE"):
        load_tokenizer(list_text_models()["bert-base-uncased"], None)


def test_runs_on_images_do_not_import_transformers(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from tests.support.tiny_runs import execute_run, make_tiny_spec; "
        f"execute_run(make_tiny_spec(epochs=1, train_limit=64), Path({str(tmp_path)!r})); "
        "assert 'transformers' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": ":".join([str(ROOT), *sys.path])}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
