"""Tests of augmentation (reproducible; only shifts and mirrors pixels) and normalisation."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.images.augmentation import augment, normalise, resize
from bench.data.images.image_data import compute_moments


def batch(count, side, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 9),
    side=st.integers(8, 40),
    kind=st.sampled_from(["none", "crop", "crop+flip"]),
)
def test_the_same_generator_state_gives_the_same_images(seed, count, side, kind):
    images = batch(count, side)
    before = images.clone()
    first, second = (augment(images, kind, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == images.shape
    assert first.dtype == torch.uint8
    assert torch.equal(images, before)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), side=st.integers(16, 40))
def test_a_crop_is_a_shift_of_at_most_an_eighth_with_mirrored_borders(seed, side):
    image = batch(1, side)
    reach = side // 8
    wide = torch.nn.functional.pad(image.float(), [reach] * 4, mode="reflect").to(torch.uint8)
    shifts = [
        wide[..., y : y + side, x : x + side]
        for y in range(2 * reach + 1)
        for x in range(2 * reach + 1)
    ]
    shifted = augment(image, "crop", torch.Generator().manual_seed(seed))
    assert any(torch.equal(shifted, shift) for shift in shifts)
    flipped = augment(image, "crop+flip", torch.Generator().manual_seed(seed))
    assert any(torch.equal(flipped, way) for shift in shifts for way in (shift, shift.flip(-1)))


def test_images_of_a_batch_shift_independently_and_half_are_mirrored():
    images = batch(1, 24).expand(400, -1, -1, -1)
    moved = augment(images, "crop", torch.Generator().manual_seed(0))
    assert len(moved.flatten(1).unique(dim=0)) > 40
    ramp = torch.arange(24, dtype=torch.uint8).expand(400, 3, 24, 24)
    flipped = augment(ramp, "crop+flip", torch.Generator().manual_seed(0))
    share = (flipped[:, 0, 0, 4] > flipped[:, 0, 0, 18]).float().mean()
    assert 0.4 < share < 0.6


def test_no_augmentation_returns_the_images_and_draws_no_random_numbers():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    images = batch(4, 16)
    assert augment(images, "none", generator) is images
    assert torch.equal(before, generator.get_state())


def test_normalise_gives_mean_zero_and_standard_deviation_one():
    images = batch(64, 16)
    mean = images.float().mean(dim=(0, 2, 3)) / 255
    std = images.float().std(dim=(0, 2, 3)) / 255
    pixels = normalise(images, mean, std)
    assert pixels.dtype == torch.float32
    assert pixels.is_contiguous()
    torch.testing.assert_close(pixels.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(pixels.std(dim=(0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_normalise_scales_small_images_to_the_resolution():
    half = torch.full((3,), 0.5)
    images = batch(2, 8)
    assert normalise(images, half, half, 32).shape == (2, 3, 32, 32)
    assert torch.equal(normalise(images, half, half, 8), normalise(images, half, half))
    flat = torch.full((1, 3, 8, 8), 51, dtype=torch.uint8)
    torch.testing.assert_close(normalise(flat, half, half, 20), torch.full((1, 3, 20, 20), -0.6))


@pytest.mark.parametrize("resolution", [8, 24, 50])
def test_resize_keeps_flat_images_flat(resolution):
    flat = torch.full((3, 3, 24, 24), 77, dtype=torch.uint8)
    resized = resize(flat, resolution)
    assert resized.shape == (3, 3, resolution, resolution)
    assert (resized == 77).all()


def test_moments_summed_in_parts_equal_those_of_all_images() -> None:
    """Check 300 images, which compute_moments sums in two parts."""
    images = torch.randint(0, 256, (300, 3, 5, 4), dtype=torch.uint8)
    mean, std = compute_moments(images)
    scaled = images.double() / 255
    torch.testing.assert_close(mean.double(), scaled.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(std.double(), scaled.std((0, 2, 3), correction=0), rtol=1e-6, atol=0)
