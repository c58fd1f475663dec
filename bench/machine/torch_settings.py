"""What holds for the whole process while it makes a run: threads, arithmetic, memory."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.spec import Spec

# Of mallopt in glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1


def set_up_process(spec: Spec) -> None:
    """Threads and arithmetic of a run, and no memory left over from the one before.

    A strategy of the run before, in the same process, may have changed torch's settings.
    """
    torch.set_num_threads(spec.threads)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.use_deterministic_algorithms(False)
    torch.set_flush_denormal(False)
    torch._C._set_mkldnn_enabled(True)
    if spec.device != "cuda":
        keep_freed_memory()
        return
    torch.backends.cudnn.allow_tf32 = spec.precision == "tf32"
    torch.backends.cuda.matmul.allow_tf32 = spec.precision == "tf32"
    # For the same bits from one making to the next. Kernels outside cuDNN may still add in another
    # order (the gradients of attention and of adaptive pooling), and have no other form that is
    # as fast.
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    gc.collect()
    torch.cuda.empty_cache()


@contextmanager
def disable_tf32() -> Iterator[None]:
    """Whole float32 products inside, whatever the run has: to hold one computation against another.

    TF32 keeps 10 bits of each factor, so that what is equal in exact arithmetic differs by 1e-3.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = False
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


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
