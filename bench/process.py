"""What holds for the whole process while it makes a run: threads, arithmetic, memory."""

from __future__ import annotations

import ctypes
import gc

import torch

from bench.spec import Spec

# Of mallopt in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1


def set_up_process(spec: Spec) -> None:
    """Threads and arithmetic of a run, and no memory left over from the one before."""
    torch.set_num_threads(spec.threads)
    if spec.device != "cuda":
        keep_freed_memory()
        return
    torch.backends.cudnn.allow_tf32 = spec.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = spec.precision == "tf32"
    torch.backends.cudnn.deterministic = True  # a resumed run ends with the same bits
    torch.backends.cudnn.benchmark = False
    gc.collect()
    torch.cuda.empty_cache()


def keep_freed_memory() -> None:
    """Have the C library keep what is freed, for the next step to use again.

    It gives large blocks back to the system, above 32 MiB always, so that each step has the
    system map and clear the same gigabytes of gradients anew: a tenth of a step of ResNet-50,
    more of VGG11. The process stays as large as it ever was. Where the C library is not glibc,
    nothing is changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)
