"""Process-wide settings of a run: threads, arithmetic and memory."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from bench.spec import Spec

# Parameters of mallopt, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = -1  # M_TRIM_THRESHOLD: never return freed heap memory to the system


def set_up_process(spec: Spec) -> None:
    """Set the threads and arithmetic of a run.

    All settings are reset, because an earlier run's strategy in the same process may have changed
    them. On a GPU, unused memory of earlier runs is released. On the CPU, freed memory is kept.
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
    # Make repeated runs bit-identical where possible. Some kernels outside cuDNN still add in
    # varying order (gradients of attention and of adaptive pooling). They have no deterministic
    # version that is as fast.
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    gc.collect()
    torch.cuda.empty_cache()


@contextmanager
def disable_tf32() -> Iterator[None]:
    """Disable TF32 inside the block, so that two computations can be compared.

    TF32 keeps 10 mantissa bits of each factor, so results that are equal in exact arithmetic can
    differ by 1e-3.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32
    try:
        cudnn.allow_tf32 = matmul.allow_tf32 = False
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32 = before


def keep_freed_memory() -> None:
    """Make glibc's malloc keep freed memory for the next step.

    By default, glibc returns many large blocks to the system, and all blocks above 32 MiB. The
    system then maps and clears gigabytes of gradients in every step. This takes a tenth of the time
    of a step of ResNet-50, and a larger share with VGG11. With this setting, the memory of the
    process never shrinks. The setting has no effect if the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, NEVER)
