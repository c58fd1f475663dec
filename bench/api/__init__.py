"""Public Python interface, besides `strategies.base` for strategies of one's own.

The callbacks for transformers and Lightning are in `bench.api.transformers` and
`bench.api.lightning`, so that neither library is imported without need.
"""

from __future__ import annotations

from bench.own_training.freezing import Freezing
from reports.runs.export_files import load_results

__all__ = ["Freezing", "load_results"]
