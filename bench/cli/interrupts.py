"""Delay of Ctrl-C while modules are imported."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

IMPORT_SYSTEM = "<frozen importlib._bootstrap>"  # file name of the frames of a running import
POLL_SECONDS = 0.05


@contextmanager
def defer_interrupts_of_imports() -> Iterator[None]:
    """Delay a Ctrl-C that arrives during an import until the import has ended.

    An exception must not end an import. torch imports numpy from C++ and drops any exception of
    that import, so the command would continue without numpy. Other C++ code aborts the process on
    an exception. A second Ctrl-C interrupts the import at once.
    """
    before = signal.getsignal(signal.SIGINT)
    if (
        before is not signal.default_int_handler  # ignored, or the caller has its own
        or threading.current_thread() is not threading.main_thread()  # only it may set handlers
    ):
        yield
        return
    pending = threading.Event()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not _is_importing(frame):
            raise KeyboardInterrupt
        pending.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=_interrupt_after_import, args=(pending,), daemon=True).start()

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if pending.is_set():  # the block ended less than POLL_SECONDS after the import
            pending.clear()
            raise KeyboardInterrupt


def _interrupt_after_import(pending: threading.Event) -> None:
    main_thread = threading.main_thread().ident or 0
    while _is_importing(sys._current_frames().get(main_thread)):
        time.sleep(POLL_SECONDS)
    if pending.is_set():
        pending.clear()
        os.kill(os.getpid(), signal.SIGINT)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORT_SYSTEM:
            return True
        frame = frame.f_back
    return False
