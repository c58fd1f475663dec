"""Selection of the planned runs that do not need missing published weights."""

from __future__ import annotations

from bench.errors import UserError
from bench.planning.plan import Plan
from bench.planning.sweep import Sweep
from bench.spec import Spec


def select_executable_runs(sweep: Sweep, plan: Plan) -> tuple[list[Spec], list[str]]:
    """Return the runs that are done or can be executed, and a message per model without weights.

    Weights that are not in the local cache are downloaded now. If the download fails, the runs
    that use these weights are left out. They would otherwise fail one by one, for example on a
    machine without a network. A run that needs a left-out run is left out too.
    """
    models = dict.fromkeys(s.model for s in plan.todo if s.weights == "pretrained")
    if not models:
        return list(plan.specs), []
    from bench.models.weights.loading import load_published  # imports timm, which takes two seconds

    reasons: dict[str, str] = {}
    for model in models:
        try:
            load_published(model)
        except UserError as error:
            reasons[model] = str(error)
    if not reasons:
        return list(plan.specs), []
    aside: dict[str, str] = {}
    for spec in plan.specs:  # in order of their dependencies
        if spec.id in plan.done:
            continue
        if spec.weights == "pretrained" and spec.model in reasons:
            aside[spec.id] = spec.model
        elif blocker := next((need for need in spec.needs if need in aside), None):
            aside[spec.id] = aside[blocker]
    roles = {entry.spec.model: entry.roles["model"] for entry in sweep.entries}
    lines = []
    for model, reason in reasons.items():
        role, count = roles.get(model, model), list(aside.values()).count(model)
        named = reason.replace("--weights FILE", f"--weights {role}=FILE")
        lines.append(f"{role}: {count} planned run{'s' * (count != 1)} cannot start: {named}")
    return [spec for spec in plan.specs if spec.id not in aside], lines
