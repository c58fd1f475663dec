"""Runs of every family of transformers models on a table of texts."""

from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from bench.models.anatomy import analyze_model
from bench.models.catalogue import build
from bench.planning.run_inputs import check_files_used, resolve_inputs
from bench.spec import Spec
from bench.training.components import make_initial_model
from tests.support.device import DEVICE
from tests.support.hub_folders import FAMILIES, make_hub_folder
from tests.support.text_tables import make_rows, write_table
from tests.support.tiny_runs import execute_run, load_weights

METHODS = {
    "full": {},
    "smartfrz": {},
    "autofreeze": {"M": 3, "N": 90, "unit": "layer"},
    "gradual_unfreezing": {},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("texts") / "sentences.csv", make_rows(120))


def tiny(folder: Path, table: Path, strategy: str = "full", **changes: object) -> Spec:
    """Return a spec of 2 epochs of 6 steps on short texts, which have one padded length."""
    values = {
        "model": f"hf:{folder}", "data": f"texts:{table}", "strategy": strategy,
        "options": METHODS[strategy], "epochs": 2, "length": 8, "batch_size": 16,
        "optimizer": "adamw", "lr": 1e-3, "device": DEVICE.type, "keep_model": True,
    }  # fmt: skip
    return resolve_inputs(Spec.from_dict({**values, **changes}), "laptop")


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_trains_under_four_methods(tmp_path: Path, table: Path, family: str) -> None:
    folder = make_hub_folder(tmp_path / family, family)
    spent, weights = {}, {}
    for strategy in METHODS:
        spec = tiny(folder, table, strategy)
        result = execute_run(spec, tmp_path)
        assert result["status"] == "done"
        flops = result["flops"]
        spent[strategy] = flops["exact"]["total"] / flops["full_exact"]
        weights[strategy] = load_weights(spec, tmp_path)
    assert spent["full"] == pytest.approx(1, rel=1e-12)
    assert spent["autofreeze"] < 0.95
    assert spent["gradual_unfreezing"] < 0.6  # the head alone, then one block more
    began = build(f"hf:{folder}", 2, 0, seed=0).state_dict()
    for strategy, ended in weights.items():
        moved = {key for key in began if not torch.equal(began[key], ended[key].to("cpu"))}
        layers, _ = analyze_model(f"hf:{folder}", 2, 8)
        assert set(layers[-1].parameters) <= moved, strategy
        # A block that thaws never stays as it was at the start.
        thawed = {p for x in layers if x.block < layers[-2].block for p in x.parameters}
        assert (strategy == "gradual_unfreezing") == (not thawed & moved), strategy


def test_bfloat16_and_checkpointing_change_saved_bytes_and_flops(
    tmp_path: Path, table: Path
) -> None:
    folder = make_hub_folder(tmp_path / "gpt2", "gpt2")
    results = {
        (precision, again): execute_run(
            tiny(folder, table, precision=precision, checkpointing=again), tmp_path
        )
        for precision in ("float32", "bfloat16")
        for again in (False, True)
    }
    saved = {key: result["memory"]["saved_bytes_peak"] for key, result in results.items()}
    spent = {key: result["flops"]["exact"]["total"] for key, result in results.items()}
    for precision in ("float32", "bfloat16"):
        assert saved[precision, True] < saved[precision, False] / 3
        assert 1.2 < spent[precision, True] / spent[precision, False] < 4 / 3
    assert saved["bfloat16", False] < saved["float32", False]
    assert spent["bfloat16", True] == spent["float32", True]
    # Recomputation repeats the same operators on the same numbers.
    plain, again = (results["float32", flag]["accuracy"] for flag in (False, True))
    assert plain == again


def test_pretrained_weights_fill_all_but_the_new_head(
    tmp_path: Path, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import RobertaConfig, RobertaModel

    folder = make_hub_folder(tmp_path / "roberta", "roberta")
    torch.manual_seed(3)
    body = RobertaModel(RobertaConfig.from_pretrained(folder), add_pooling_layer=False)
    body.save_pretrained(folder, max_shard_size="20KB")  # several files with an index
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    models = []
    for seed in (0, 1):
        spec = tiny(folder, table, weights="pretrained", seed=seed)
        layers, _ = analyze_model(spec.model, 2, 8)
        models.append(make_initial_model(spec, 2, layers, tmp_path))
        assert "starts with random classifier.dense.bias" in capsys.readouterr().err
    for key, value in body.state_dict().items():
        assert torch.equal(models[0].state_dict()[f"roberta.{key}"], value)
    assert not torch.equal(*(model.classifier.out_proj.weight for model in models))
    next(iter(folder.glob("model-*.safetensors"))).unlink()
    with pytest.raises(UserError, match=r"lacks model-.*which model\.safetensors\.index\.json"):
        tiny(folder, table, weights="pretrained", seed=2)


def test_a_weights_file_of_a_bare_model_fits(tmp_path: Path, table: Path) -> None:
    from safetensors.torch import save_file

    folder = make_hub_folder(tmp_path / "gpt2", "gpt2")
    source = build(f"hf:{folder}", 2, 0, seed=5).state_dict()
    bare = {k.removeprefix("transformer."): v for k, v in source.items() if "score" not in k}
    save_file({**bare, "h.0.attn.bias": torch.ones(1)}, tmp_path / "bare.safetensors")
    values = {"model": f"hf:{folder}", "data": f"texts:{table}", "weights": "file", "length": 8}
    files = {"weights": str(tmp_path / "bare.safetensors")}
    spec = resolve_inputs(Spec.from_dict(values), "laptop", files)
    model = make_initial_model(spec, 2, analyze_model(spec.model, 2, 8)[0], tmp_path)
    own = model.state_dict()
    assert all(torch.equal(own[k], source[k]) for k in source if k != "score.weight")
    assert not torch.equal(own["score.weight"], source["score.weight"])


def test_a_vocabulary_of_another_model_in_the_same_sweep_has_no_effect(
    tmp_path: Path, table: Path
) -> None:
    """A hub model has its own tokenizer. A run that reads no vocabulary alone refuses it."""
    folder = make_hub_folder(tmp_path / "gpt2", "gpt2")
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("[UNK]\n")
    values = {"model": f"hf:{folder}", "data": f"texts:{table}", "length": 8}
    files = {"vocab": str(vocabulary)}
    without, given = (resolve_inputs(Spec.from_dict(values), "laptop", f) for f in ({}, files))
    assert given == without
    with pytest.raises(UserError, match=r"--vocab .*: has no effect, because no run reads it"):
        check_files_used(files, [given])


def test_the_id_depends_on_the_files_and_not_on_their_place(tmp_path: Path, table: Path) -> None:
    one, other = (make_hub_folder(tmp_path / name, "llama") for name in ("one", "other"))
    copied = write_table(tmp_path / "copy.jsonl", make_rows(120))
    spec = tiny(one, table)
    assert spec.id == tiny(other, copied).id
    changed = make_hub_folder(tmp_path / "changed", "llama", rms_norm_eps=1e-3)
    assert spec.id != tiny(changed, table).id
    assert spec.id != tiny(one, write_table(tmp_path / "fewer.csv", make_rows(119))).id
    (one / "config.json").write_text((changed / "config.json").read_text())
    with pytest.raises(
        UserError, match=r"model files in .* have changed since the run was planned"
    ):
        execute_run(spec, tmp_path)
