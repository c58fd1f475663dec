"""Streams of random numbers: from their parts alone, and those torch would give."""

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from bench.seeds import derive_seed, make_generator, seed_device

PARTS = st.lists(st.one_of(st.integers(), st.text()), max_size=4)


@hypothesis.given(parts=PARTS)
def test_a_device_is_seeded_as_torch_seeds_it(parts: list[object]) -> None:
    seed_device(torch.device("cpu"), *parts)
    drawn = torch.rand(3)
    torch.manual_seed(derive_seed(*parts))
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(drawn, torch.rand(3, generator=make_generator(*parts)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_seeded_as_torch_seeds_it() -> None:
    seed_device(torch.device("cuda"), "step", 3)
    drawn = torch.rand(3, device="cuda")
    torch.manual_seed(derive_seed("step", 3))
    assert torch.equal(drawn, torch.rand(3, device="cuda"))


@hypothesis.given(parts=PARTS, other=PARTS)
def test_other_parts_give_another_stream(parts: list[object], other: list[object]) -> None:
    texts = ["/".join(map(str, some)) for some in (parts, other)]
    assert (derive_seed(*parts) == derive_seed(*other)) == (texts[0] == texts[1])
    assert 0 <= derive_seed(*parts) < 2**63
