"""Law: the soak reports every traceback except those of Python's standard library."""

from __future__ import annotations

import multiprocessing.resource_tracker
import traceback

from tests.soak.tracebacks import find_frame

TRACKER = multiprocessing.resource_tracker.__file__


def test_a_traceback_of_the_standard_library_with_lines_of_srun_is_not_reported() -> None:
    output = (
        "Traceback (most recent call last):\n"
        f'  File "{TRACKER}", line 239, in main\n'
        "srun: forcing job termination\n"
        "    cache[rtype].remove(name)\n"
        "KeyError: '/mp-g1nsje2i'\n"
        'File "x.py" is missing\n'
    )
    assert find_frame(output) is None


def test_any_other_traceback_is_reported() -> None:
    try:
        int("one")
    except ValueError:
        own = traceback.format_exc()
    library = f'Traceback (most recent call last):\n  File "{TRACKER}", line 239, in main\n'
    frame = find_frame(library + own.replace("\n", "\nsrun: got SIGCONT\n"))
    assert frame is not None
    assert __file__ in frame
