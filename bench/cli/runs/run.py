"""`freezebench run`: one training run."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from bench.cli.arguments import (
    add_field_arguments,
    add_file_arguments,
    add_profile_argument,
    add_results_argument,
    collect_fields,
    collect_files,
)
from bench.cli.runs.rendezvous import add_rendezvous_argument, meet_machines
from bench.errors import UserError
from bench.spec import FIELDS

NAMES = {
    "accuracy": "accuracy, %:",
    "matthews": "Matthews correlation, times 100:",
    "loss": "loss in nats per word, times −100:",
}
HELP = "execute one run and print its result"
EXAMPLE = (
    "freezebench run --model laptop_resnet --data digits10 --resolution 24 --lr 0.05 "
    "--epochs 2 --strategy smartfrz -o window=30"
)
STRATEGY = ("strategy", "seed")
MODEL_AND_DATA = ("model", "data", "train_limit", "evaluate_on", "resolution", "length")


def arguments(parser: argparse.ArgumentParser) -> None:
    chosen = parser.add_argument_group("model and data")
    add_field_arguments(chosen, MODEL_AND_DATA)
    chosen.add_argument(
        "--weights",
        default="",
        metavar="SOURCE",
        help="initial weights: 'pretrained', run:ID, or a safetensors file (default: random)",
    )
    method = parser.add_argument_group("method")
    add_field_arguments(method, STRATEGY)
    method.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the strategy; repeat for more (see `freezebench list strategies`)",
    )
    method.add_argument(
        "--reference",
        default="",
        metavar="run:ID",
        help="trained run of the same task, required by cka_oracle and record (default: none)",
    )
    add_profile_argument(
        method, "profile whose predictor is used; no other setting is taken from the profile"
    )
    training = parser.add_argument_group("training")
    grouped = (*MODEL_AND_DATA, *STRATEGY, "weights", "reference")
    add_field_arguments(training, tuple(name for name in FIELDS if name not in grouped))
    add_rendezvous_argument(training)
    files = parser.add_argument_group("files")
    add_results_argument(files)
    files.add_argument("--keep-model", action="store_true", help="keep the trained weights")
    add_file_arguments(files)


def main(args: argparse.Namespace) -> int:
    from bench.launch.launch import launch
    from bench.planning.input_fields import check_changes
    from bench.planning.run_inputs import check_files_used, resolve_inputs
    from bench.planning.sweep_files import load_profile
    from bench.results.run_folder import RunFolder
    from bench.spec import Spec

    values: dict[str, Any] = collect_fields(args)
    values |= {"options": _parse_options(args.option), "reference": args.reference}
    args.weights_file = ""
    if args.weights and args.weights != "pretrained" and not args.weights.startswith("run:"):
        args.weights_file, values["weights"] = args.weights, "file"
    else:
        values["weights"] = args.weights
    if values.get("weights_may_lack") and not args.weights:
        raise UserError(
            "--weights-may-lack applies to initial weights; pass --weights SOURCE, or remove "
            "--weights-may-lack"
        )
    values["keep_model"] = args.keep_model
    profile = load_profile(args.profile)
    if "data" in values:
        check_changes(values, [values["data"]])
    files = collect_files(args)
    spec = resolve_inputs(Spec.from_dict(values), profile["name"], files)
    check_files_used(files, [spec])
    with meet_machines(args.rendezvous, [spec]) as first:
        if not first:
            return 0
        outcome = launch([spec], args.results, workers=1)
    folder = RunFolder(args.results, spec.id)
    if spec.id in outcome.failed:
        log = folder.path / "traceback.txt"
        if args.debug and log.exists():
            print(log.read_text(), file=sys.stderr)
        raise UserError(outcome.failed[spec.id])
    if outcome.stopped:
        raise KeyboardInterrupt
    print(summarise_result(folder.result()) + f"\n{folder.path}")
    if folder.diverged:
        raise UserError(f"{spec.label}: diverged and is recorded as such; a lower --lr may help")
    return 0


def summarise_result(result: dict[str, Any]) -> str:
    """Return the result of a run in a few lines."""
    if result["status"] == "diverged":
        return f"diverged: {result['reason']}"
    flops, clocks = result["flops"], result["clocks"]
    frozen = sum(layer["frozen_at_step"] is not None for layer in result["layers"])
    saved = 1 - (flops["exact"]["total"] + flops["decide"]) / flops["full_exact"]
    words = "words" if result["metric"] == "loss" else "samples"
    return (
        f"{NAMES[result['metric']]} {result['accuracy']:.2f} on {result['eval_count']} {words}\n"
        f"training {clocks['train']:.1f} s, deciding {clocks['decide']:.2f} s\n"
        f"computation {flops['exact']['total'] / 1e12:.4g} TFLOPs exact, "
        f"{flops['paper']['total'] / 1e12:.4g} by the paper's convention\n"
        f"saved {100 * saved:.1f} % of the exact FLOPs of full training, decisions included\n"
        f"layers frozen {frozen} of {len(result['layers'])}"
    )


def _parse_options(pairs: list[str]) -> dict[str, str]:
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise UserError(f"--option {pair!r} is not valid; give KEY=VALUE")
        options[key] = value
    return options
