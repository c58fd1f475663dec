"""Public Python interface, besides `strategies.base` for strategies of one's own.

The callbacks for transformers and Lightning are in `bench.api.transformers` and
`bench.api.lightning`, so that neither library is imported without need.
"""

from __future__ import annotations

from bench.siblings import check_siblings

check_siblings()

# These imports fail if another package has a name of ours, so they follow the check.
from bench.own_training.freezing import Freezing  # noqa: E402  # after the check
from reports.runs.export_files import load_results  # noqa: E402  # after the check

__all__ = ["Freezing", "load_results"]
