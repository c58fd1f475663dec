"""Public Python interface: freezing in your own training loop, and loading of results.

To write your own strategy, import from `strategies.base`. The callbacks for transformers and
Lightning are in `bench.api.transformers` and `bench.api.lightning`. Importing `bench.api` therefore
loads neither library.
"""

from __future__ import annotations

from bench.siblings import check_siblings

check_siblings()

# These imports fail if another package has a name of ours, so they follow the check.
from bench.own_training.freezing import Freezing  # noqa: E402  # after the check
from reports.runs.export_files import load_results  # noqa: E402  # after the check

__all__ = ["Freezing", "load_results"]
