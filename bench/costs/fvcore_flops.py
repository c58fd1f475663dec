"""Forward FLOPs of each layer and of all products, counted by fvcore."""

from __future__ import annotations

import copy
import logging
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

with warnings.catch_warnings():
    # fvcore calls torch.jit.script on import, which newer versions of torch deprecate.
    warnings.simplefilter("ignore", FutureWarning)
    from fvcore.nn import FlopCountAnalysis
import torch
from torch import nn

from bench.errors import UserError, summarise_error
from bench.layers.discovery import Inputs, Layer, find_calls

# Operators without multiply-adds. Any other operator that fvcore does not count is an error.
NOT_COUNTED = frozenset(
    """add add_ sub rsub mul mul_ div div_ neg pow square sqrt rsqrt exp log abs sum mean cumsum
    clamp clamp_ clamp_min clamp_max clip minimum maximum where masked_fill masked_fill_ eq ne lt
    gt le ge relu relu_ relu6 hardtanh hardtanh_ hardswish hardswish_ hardsigmoid hardsigmoid_
    sigmoid sigmoid_ silu silu_ gelu tanh elu leaky_relu prelu softplus mish mish_ softmax
    log_softmax dropout dropout_ feature_dropout bernoulli_ rand max_pool2d avg_pool2d
    adaptive_avg_pool2d adaptive_avg_pool1d adaptive_max_pool2d lp_pool2d embedding pad roll expand
    expand_as repeat meshgrid arange ones zeros full ones_like zeros_like empty_like fill_ zero_
    copy_ clone cat stack unbind gather index index_select index_put_ topk sort argmax max flip
    rot90 pixel_unshuffle pixel_shuffle channel_shuffle im2col col2im upsample_bicubic2d norm
    frobenius_norm linalg_vector_norm std var var_mean bitwise_not logical_not unflatten numel sin
    cos tril triu scalar_tensor new_ones new_zeros new_full bitwise_and bitwise_or logical_and
    logical_or __and__ __or__ isnan repeat_interleave amax amin tile reshape_as avg_pool1d
    max_pool1d unfold view_as type_as outer ceil floor round leaky_relu_ elu_ addcmul addcmul_
    _upsample_bicubic2d_aa sign min reciprocal diff triu_ tril_ remainder floor_divide
    take_along_dim selu selu_ celu celu_ glu log_sigmoid hardshrink softshrink threshold threshold_
    rrelu rrelu_ scatter scatter_ scatter_add scatter_add_ scatter_reduce index_add index_add_
    masked_select masked_scatter nonzero cosine_similarity logsumexp logcumsumexp logaddexp cumprod
    prod median mode argmin any all isfinite isinf nan_to_num one_hot alpha_dropout
    feature_alpha_dropout exponential_ erf erfc erfinv log1p log2 log10 expm1 exp2 tan asin acos
    atan atan2 sinh cosh asinh acosh atanh hypot xlogy lerp addcdiv addcdiv_ fmod frac trunc sgn
    square_ sqrt_ exp_ tanh_ pow_ neg_ abs_ rsqrt_ reciprocal_""".split()
)
_ATTENTION = "aten::scaled_dot_product_attention"
_PRODUCTS = frozenset(("conv", "linear", "addmm", "matmul", "mm", "bmm", "einsum", _ATTENTION))


def count_with_fvcore(
    model: nn.Module, layers: Sequence[Layer], inputs: Inputs
) -> tuple[tuple[float, ...], int]:
    """Return the forward FLOPs of a batch: by layer in the paper's convention, and of all products.

    The products include fused attention. Raises UserError if fvcore cannot trace or count the
    model.
    """
    # Train mode would change the running statistics of BatchNorm. Without requires_grad, a
    # transformer layer of PyTorch calls one fused operator, which cannot be counted by layer.
    copied = copy.deepcopy(model).eval().requires_grad_(True)
    analysis = FlopCountAnalysis(copied, inputs)
    analysis.set_op_handle(_ATTENTION, _count_attention, "aten::einsum", _count_einsum)
    analysis.set_op_handle("aten::_convolution_mode", _count_padded_convolution)
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    try:
        counts = analysis.by_module_and_operator()
    except (UserError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # each family raises errors of its own
        reason = summarise_error(error, with_type=True)
        raise UserError(
            f"the FLOPs of {type(model).__name__} cannot be counted (the trace of fvcore fails"
            f"{_locate(error, copied)}: {reason}); use another model, or switch off "
            "torch.compile and gradient checkpointing inside of this one"
        ) from error
    _refuse_unknown(analysis.unsupported_ops(), type(model).__name__)

    owner = {module: layer.index for layer in layers for module in layer.modules if module}
    own = {name: dict(counter) for name, counter in counts.items()}
    for name, counter in counts.items():
        parent = name.rpartition(".")[0] if name else None
        if parent is not None:
            for operator, count in counter.items():
                own[parent][operator] -= count
    forward = [0.0] * len(layers)
    products = 0.0
    current = 0
    order = list(dict.fromkeys(find_calls(model, inputs)))
    for name in order + [n for n in own if n not in order]:
        # A module that belongs to no layer (pooling) counts towards the layer that ran before it.
        current = owner.get(name, current)
        for operator, count in own[name].items():
            if operator != _ATTENTION:
                forward[current] += 2 * count
            if operator in _PRODUCTS:
                products += 2 * count
    return tuple(forward), int(products)


def _locate(error: Exception, model: nn.Module) -> str:
    """Return words that name the innermost module in which an error arose; "" for none."""
    names = {id(module): name for name, module in model.named_modules() if name}
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    inside = [own for f in frames if id(own := f.f_locals.get("self")) in names]
    return f" in {names[id(inside[-1])]} ({type(inside[-1]).__name__})" if inside else ""


def _count_attention(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Return the multiply-adds of fused attention: queries x keys, then scores x values."""
    queries, keys, values = (value.type().sizes() for value in inputs[:3])
    return Counter({_ATTENTION: prod(queries[:-1]) * keys[-2] * (keys[-1] + values[-1])})


def _count_einsum(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Return the multiply-adds of an einsum of two factors.

    This handler is used because fvcore's own handler rounds to 4 digits. Raises UserError unless
    the einsum has exactly two factors and no ellipsis.
    """
    equation = str(inputs[0].toIValue()).replace(" ", "")
    shapes = [value.type().sizes() for value in inputs[1].node().inputs()]
    terms = equation.partition("->")[0].split(",")
    if len(terms) != 2 or "." in equation:
        raise UserError(
            f"einsum {equation!r}: cannot count its FLOPs; use einsums of two factors, without an"
            " ellipsis"
        )
    sizes = {
        k: n
        for term, shape in zip(terms, shapes, strict=True)
        for k, n in zip(term, shape, strict=True)
    }
    return Counter({"einsum": prod(sizes.values())})


def _count_padded_convolution(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Return the multiply-adds of a convolution whose padding is a string ("same")."""
    weight, output = inputs[1].type().sizes(), outputs[0].type().sizes()
    return Counter({"conv": prod(output) * prod(weight[1:])})


def _refuse_unknown(unsupported: Iterable[str], model: str) -> None:
    unknown = sorted(op for op in unsupported if op.removeprefix("aten::") not in NOT_COUNTED)
    if unknown:
        raise UserError(
            f"{model}: cannot count the FLOPs of these operators: {', '.join(unknown)}; if they do"
            " no multiply-adds, add them to NOT_COUNTED in bench/costs/fvcore_flops.py"
        )
