"""Tests of seeds: they depend only on the named parts, and seeding equals torch.manual_seed."""

import hypothesis
import pytest
import torch
from hypothesis import strategies as st

from bench.seeds import derive_seed, make_generator, seed_device

PARTS = st.lists(st.one_of(st.integers(), st.text()), max_size=4)


@hypothesis.given(parts=PARTS)
def test_seeding_the_cpu_equals_torch_manual_seed(parts: list[object]) -> None:
    seed_device(torch.device("cpu"), *parts)
    drawn = torch.rand(3)
    torch.manual_seed(derive_seed(*parts))
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(drawn, torch.rand(3, generator=make_generator(*parts)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_seeding_a_gpu_equals_torch_manual_seed() -> None:
    seed_device(torch.device("cuda"), "step", 3)
    drawn = torch.rand(3, device="cuda")
    torch.manual_seed(derive_seed("step", 3))
    assert torch.equal(drawn, torch.rand(3, device="cuda"))


@hypothesis.given(parts=PARTS, other=PARTS)
def test_different_parts_give_different_seeds(parts: list[object], other: list[object]) -> None:
    texts = ["/".join(map(str, some)) for some in (parts, other)]
    assert (derive_seed(*parts) == derive_seed(*other)) == (texts[0] == texts[1])
    assert 0 <= derive_seed(*parts) < 2**63
