"""Tracebacks in the output of disturbed processes."""

from __future__ import annotations

import re
import sysconfig

FRAME = re.compile(r'^ +(File "([^"]+)", line \d+, in .+)$', re.MULTILINE)


def find_frame(output: str) -> str | None:
    """Return the first frame of a traceback outside Python's standard library, or None.

    After a SIGKILL, Python's resource tracker and fork server print tracebacks that only have
    frames of the standard library. Other programs can print lines between the lines of a traceback,
    so each line is judged on its own.
    """
    library = sysconfig.get_path("stdlib")
    for frame, file in FRAME.findall(output):
        in_library = file.startswith(library) and "site-packages" not in file
        if not in_library and not file.startswith("<"):
            return str(frame)
    return None
