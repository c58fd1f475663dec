"""A run that uses the weights of another run is not scored on the training samples of that run."""

from pathlib import Path

import pytest

from bench.errors import UserError
from bench.results.run_folder import RunFolder
from bench.spec import Spec
from bench.training.components import find_artifacts
from tests.support.tiny_runs import execute_run, make_tiny_spec


def keep(spec: Spec, results: Path) -> str:
    """Write the files of a finished run that kept its weights; return its source."""
    folder = RunFolder(results, spec.id)
    folder.create()
    folder.write("spec.json", spec.to_dict())
    folder.model.write_bytes(b"")
    return f"run:{spec.id}"


def test_a_reference_of_another_fold_is_refused(tmp_path: Path) -> None:
    reference = keep(make_tiny_spec(seed=1003), tmp_path)
    same = make_tiny_spec("cka_oracle", seed=8, reference=reference)
    assert find_artifacts(same, tmp_path)["reference"].exists()
    other = make_tiny_spec("cka_oracle", seed=9, reference=reference)
    with pytest.raises(UserError, match=r"seed 1003 selects another fold.*repeat.*--seed 9"):
        find_artifacts(other, tmp_path)


def test_initial_weights_of_another_fold_are_refused(tmp_path: Path) -> None:
    spec = make_tiny_spec(seed=1, weights=keep(make_tiny_spec(seed=0), tmp_path))
    with pytest.raises(UserError, match=r"samples that this run is scored on"):
        execute_run(spec, tmp_path)


def test_a_reference_that_trained_on_the_validation_samples_is_refused(tmp_path: Path) -> None:
    tested = keep(make_tiny_spec(), tmp_path)
    validated = keep(make_tiny_spec(evaluate_on="validation"), tmp_path)
    spec = make_tiny_spec("cka_oracle", evaluate_on="validation", reference=tested)
    with pytest.raises(UserError, match=r"validation samples too.*--evaluate-on validation"):
        find_artifacts(spec, tmp_path)
    for kind in ("validation", "test"):
        spec = make_tiny_spec("cka_oracle", evaluate_on=kind, reference=validated)
        assert find_artifacts(spec, tmp_path)["reference"].exists()


def test_a_reference_of_another_data_set_is_refused(tmp_path: Path) -> None:
    reference = keep(make_tiny_spec(data="symbols100"), tmp_path)
    spec = make_tiny_spec("cka_oracle", reference=reference)
    with pytest.raises(UserError, match=r"trained on symbols100; name a run on digits10"):
        find_artifacts(spec, tmp_path)


def test_the_path_of_the_same_images_may_be_spelled_in_another_way(tmp_path: Path) -> None:
    def make(path: str, content: str, **changes: object) -> Spec:
        return Spec(
            model="laptop_resnet", data=f"folder:{path}", lr=0.1, contents={"data": content}
        ).with_changes(**changes)

    reference = keep(make("imgs", "same"), tmp_path)
    spec = make("/all/imgs", "same", seed=1, reference=reference)
    assert find_artifacts(spec, tmp_path)["reference"].exists()
    with pytest.raises(UserError, match=r"was trained on folder:imgs; name a run on folder:/o"):
        find_artifacts(make("/other", "other", reference=reference), tmp_path)


def test_validation_texts_that_no_run_trains_on_do_not_exclude_a_reference(tmp_path: Path) -> None:
    texts = {"model": "laptop_bert", "data": "grammar:acceptability"}
    reference = keep(make_tiny_spec(**texts), tmp_path)
    spec = make_tiny_spec("cka_oracle", evaluate_on="validation", reference=reference, **texts)
    assert find_artifacts(spec, tmp_path)["reference"].exists()
