import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from wavedil.config import AugmentConfig
from wavedil.data.augment import (
    Augment,
    _spread_all,
    _spread_each,
    noise_windows,
    plain,
)

RATE = 16_000
OFF = AugmentConfig(shift_ms=0, gain_db=0, speed=0, noise_probability=0, noise_gain=0, mixup=0)
seeds = st.integers(0, 2**32 - 1)


def with_only(**strengths: float) -> AugmentConfig:
    return AugmentConfig(**{**vars(OFF), **strengths})  # type: ignore[arg-type]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def clips(batch: int = 40, samples: int = 300, seed: int = 0) -> Tensor:
    return torch.randint(-20_000, 20_000, (batch, samples), dtype=torch.int16, generator=generator(seed))


def augment(
    config: AugmentConfig, waveforms: Tensor, seed: int = 0, noise: Tensor | None = None, silence: int | None = None
) -> tuple[Tensor, Tensor]:
    targets = torch.arange(len(waveforms)) % 4
    return Augment(config, RATE, noise, 4, silence)(waveforms, targets, generator(seed))


@given(seeds, st.integers(1, 40))
def test_nothing_on_is_the_identity(seed: int, batch: int) -> None:
    waveforms = clips(batch)
    found, probabilities = augment(OFF, waveforms, seed, noise=clips(1)[0])
    assert torch.equal(found, plain(waveforms))
    assert (found.shape, found.dtype) == ((batch, 1, 300), torch.float32)
    assert torch.equal(probabilities, torch.eye(4)[torch.arange(batch) % 4])


def test_plain_scales_int16_and_leaves_floats() -> None:
    waveforms = torch.tensor([[-32768, 0, 16384]], dtype=torch.int16)
    assert plain(waveforms).tolist() == [[[-1.0, 0.0, 0.5]]]
    assert plain(torch.tensor([[0.25, -1.0]], dtype=torch.float64)).tolist() == [[[0.25, -1.0]]]


EVERYTHING = AugmentConfig(shift_ms=5, gain_db=6, speed=0.1, noise_probability=0.5, noise_gain=0.3, mixup=0.4)


@given(seeds)
def test_the_seed_decides(seed: int) -> None:
    noise = clips(1, 5000, seed=9)[0]
    first = augment(EVERYTHING, clips(), seed, noise, silence=1)
    second = augment(EVERYTHING, clips(), seed, noise, silence=1)
    other = augment(EVERYTHING, clips(), seed + 1, noise, silence=1)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(first[0], other[0])


def test_the_input_is_left_alone() -> None:
    waveforms, noise = clips(), clips(1, 5000)[0]
    kept, kept_noise = waveforms.clone(), noise.clone()
    augment(EVERYTHING, waveforms, 0, noise, silence=1)
    augment(EVERYTHING, plain(waveforms)[:, 0], 0, noise, silence=1)
    assert torch.equal(waveforms, kept)
    assert torch.equal(noise, kept_noise)


@given(seeds)
def test_int16_and_float_come_to_the_same(seed: int) -> None:
    waveforms, noise = clips(), clips(1, 5000)[0]
    from_int, _ = augment(EVERYTHING, waveforms, seed, noise, silence=1)
    from_float, _ = augment(EVERYTHING, plain(waveforms)[:, 0], seed, noise, silence=1)
    torch.testing.assert_close(from_int, from_float, atol=1e-5, rtol=0)


def test_clips_do_not_depend_on_their_neighbours_in_a_block() -> None:
    # More clips than are handled at once, all the same: whatever was drawn for each must give the same result alone.
    waveforms = clips(1).expand(50, -1)
    found, _ = augment(with_only(gain_db=6), waveforms)
    gains = found[:, 0, 0] / plain(waveforms)[:, 0, 0]
    torch.testing.assert_close(found, plain(waveforms) * gains[:, None, None])
    assert len(gains.unique()) == 50


@given(seeds, st.integers(1, 20))
def test_shifts_are_whole_samples_within_bounds_and_leave_zeros(seed: int, most: int) -> None:
    waveforms = clips(20, 50).masked_fill_(clips(20, 50) == 0, 1)
    found, _ = augment(with_only(shift_ms=most * 1000 / RATE), waveforms, seed)
    original = plain(waveforms)[:, 0]
    for row, shifted in zip(original, found[:, 0], strict=True):
        lead = int((shifted != 0).nonzero()[0])
        tail = int((shifted.flip(0) != 0).nonzero()[0])
        assert lead == 0 or tail == 0
        assert lead <= most
        assert tail <= most
        assert torch.equal(shifted[lead : 50 - tail], row[tail : 50 - lead])


def test_every_shift_is_drawn() -> None:
    waveforms = torch.zeros(2000, 9, dtype=torch.int16)
    waveforms[:, 4] = 1
    found, _ = augment(with_only(shift_ms=3 * 1000 / RATE), waveforms)
    shifts = found[:, 0].argmax(dim=1) - 4
    counts = torch.bincount(shifts + 3, minlength=7)
    assert (counts > 200).all()  # of 2000 / 7


@given(seeds, st.floats(0, 40))
def test_gain_is_within_its_bounds(seed: int, gain_db: float) -> None:
    waveforms = torch.full((100, 3), 10_000, dtype=torch.int16)
    found, _ = augment(with_only(gain_db=gain_db), waveforms, seed)
    decibels = 20 * (found / plain(waveforms)).log10()
    assert decibels.abs().max() <= gain_db + 1e-4
    if gain_db > 1:
        assert decibels.max() > 0.5 * gain_db
        assert decibels.min() < -0.5 * gain_db


def test_speed_changes_the_frequency_by_at_most_its_bound() -> None:
    time = torch.arange(RATE) / RATE
    waveforms = (10_000 * torch.sin(2 * math.pi * 400 * time)).to(torch.int16).expand(60, -1)
    found, _ = augment(with_only(speed=0.1), waveforms)
    middle = found[:, 0, 4000:12000]
    frequencies = ((middle[:, 1:] > 0) != (middle[:, :-1] > 0)).sum(dim=1)  # crossings in half a second
    assert frequencies.min() >= 359
    assert frequencies.max() <= 441
    assert frequencies.max() - frequencies.min() > 50
    assert (middle.abs().amax(dim=1) - 10_000 / 32768).abs().max() < 0.005


def test_eight_clips_in_turn_have_the_same_speed() -> None:
    ramp = torch.arange(RATE, dtype=torch.int16).expand(24, -1)
    found, _ = augment(with_only(speed=0.1), ramp)
    slopes = (found[:, 0, 9000] - found[:, 0, 7000]).view(3, 8)
    torch.testing.assert_close(slopes, slopes[:, :1].expand(-1, 8))
    assert len(slopes[:, 0].unique()) == 3


@given(seeds)
def test_speed_near_nothing_is_near_the_identity(seed: int) -> None:
    found, _ = augment(with_only(speed=1e-9), clips(), seed)
    torch.testing.assert_close(found, plain(clips()), atol=1e-3, rtol=0)


def test_speed_and_shift_together() -> None:
    waveforms = torch.zeros(200, 101, dtype=torch.int16)
    waveforms[:, 50] = 20_000
    found, _ = augment(with_only(speed=1e-9, shift_ms=10 * 1000 / RATE), waveforms)
    positions = found[:, 0].argmax(dim=1)
    assert positions.min() == 40
    assert positions.max() == 60
    torch.testing.assert_close(found.amax(dim=2), torch.full((200, 1), 20_000 / 32768), atol=1e-3, rtol=0)


def test_zeros_beyond_the_ends_when_faster() -> None:
    waveforms = torch.full((100, 1001), 10_000, dtype=torch.int16)
    found, _ = augment(with_only(speed=0.2), waveforms)
    level = 10_000 / 32768
    assert found.min() == 0
    assert found.max() <= level + 1e-6
    inside = found[:, 0, 100:900]
    torch.testing.assert_close(inside, torch.full_like(inside, level))


def test_a_length_without_divisors_changes_speed_too() -> None:
    waveforms = torch.full((100, 101), 10_000, dtype=torch.int16)  # 101 is prime: a row is one piece
    found, _ = augment(with_only(speed=0.2), waveforms)
    inside = found[:, 0, 10:90]
    torch.testing.assert_close(inside, torch.full_like(inside, 10_000 / 32768))
    assert (found[:, 0, :3] == 0).any(dim=1).sum() > 20  # those that became faster


@pytest.mark.parametrize(("samples", "pieces"), [(RATE, 16), (1009, 1)])
def test_both_ways_to_spread_a_stretch_agree(samples: int, pieces: int) -> None:
    rows, starts = clips(8, samples), torch.arange(-800, 800, 200)
    lengths = torch.linspace(0.9 * samples, 1.1 * samples, 8).long() // pieces * pieces
    each, together = _spread_each(rows, starts, lengths, pieces), _spread_all(rows, starts, lengths)
    torch.testing.assert_close(each / 32768, together / 32768, atol=2e-4, rtol=0)


@pytest.mark.parametrize("spread", [partial(_spread_each, pieces=6), partial(_spread_each, pieces=1), _spread_all])
@given(seeds)
def test_a_stretch_is_spread_by_linear_interpolation_with_zeros_around(spread: Any, seed: int) -> None:
    rows = clips(8, 60).float() / 32768
    starts = torch.randint(-40, 40, (8,), generator=generator(seed))
    lengths = 6 * torch.randint(1, 17, (4,), generator=generator(seed + 1))[[0, 0, 0, 1, 2, 2, 3, 0]]
    for row, out, start, length in zip(rows, spread(rows, starts, lengths), starts, lengths, strict=True):
        position = int(start) + np.arange(60) * (int(length) / 60)
        expected = np.interp(position, np.arange(-150, 210), np.pad(row.numpy(), (150, 150)))
        np.testing.assert_allclose(out.numpy(), expected, atol=2e-5)


@given(seeds, st.integers(1, 30))
def test_cut_clips_come_later_by_at_most_that(seed: int, most: int) -> None:
    waveforms = clips(40, 50).masked_fill_(clips(40, 50) == 0, 1)
    found, _ = augment(with_only(cut_probability=0.5, cut_ms=most * 1000 / RATE), waveforms, seed)
    original = plain(waveforms)[:, 0]
    leads = []
    for row, moved in zip(original, found[:, 0], strict=True):
        leads.append(int((moved != 0).nonzero()[0]))
        assert torch.equal(moved[leads[-1] :], row[: 50 - leads[-1]])
    assert max(leads) <= most
    if most >= 5:  # below, many cuts are of no sample
        assert 2 <= sum(lead > 0 for lead in leads) <= 38


def test_the_gain_is_that_of_the_clip_and_its_noise() -> None:
    """Of the same draws, a gain scales the whole mixture: the ratio of speech to noise does not depend on it."""
    waveforms, noise = clips(16), torch.arange(3000).to(torch.int16)
    plainly, loudly = (
        augment(with_only(noise_probability=1, noise_gain=0.1, gain_db=gain_db), waveforms, 0, noise)[0]
        for gain_db in (0.0, 12.0)
    )
    gains = (loudly.abs().sum((1, 2)) / plainly.abs().sum((1, 2)))[:, None, None]
    assert len(gains.unique()) == 16
    torch.testing.assert_close(loudly, plainly * gains, rtol=1e-5, atol=1e-6)


@given(seeds, st.floats(0, 1))
def test_noise_reaches_its_share_of_the_clips_with_its_gain(seed: int, probability: float) -> None:
    waveforms = torch.zeros(400, 5, dtype=torch.int16)
    noise = torch.full((1000,), 16384, dtype=torch.int16)
    found, _ = augment(with_only(noise_probability=probability, noise_gain=0.1), waveforms, seed, noise)
    levels = found[:, 0, 0]
    assert (found == levels[:, None, None]).all()
    assert 0 <= levels.min() <= levels.max() <= 0.05
    assert abs(float((levels > 0).float().mean()) - probability) < 0.15


def test_noise_windows_come_from_everywhere_and_are_whole() -> None:
    noise = torch.arange(1, 1001, dtype=torch.int16)
    found, _ = augment(with_only(), torch.zeros(2000, 11, dtype=torch.int16), 0, noise, silence=None)
    assert not found.any()
    silent = Augment(with_only(), RATE, noise, 1, 0)
    found, _ = silent(torch.zeros(4000, 11, dtype=torch.int16), torch.zeros(4000, dtype=torch.int64), generator())
    steps = (found[:, 0, 1:] - found[:, 0, :-1]) * 32768  # the gain, as the noise rises by one a sample
    starts = found[:, 0, 0] * 32768 / steps.mean(dim=1)
    assert steps.min() >= 0
    assert steps.max() < 1.01
    assert starts.min() < 20
    assert starts.max() > 970


def test_silence_is_noise_alone() -> None:
    noise = torch.full((1000,), 16384, dtype=torch.int16)
    waveforms = torch.full((400, 20), 999, dtype=torch.int16)
    found, probabilities = augment(with_only(gain_db=6), waveforms, 0, noise, silence=2)
    silent = torch.arange(400) % 4 == 2
    levels = found[silent, 0]
    assert (levels == levels[:, :1]).all()
    assert 0 <= levels.min() < 0.05
    assert 0.45 < levels.max() <= 0.5
    assert (probabilities[silent].argmax(dim=1) == 2).all()
    assert (found[~silent] < 0.1).all()


def test_without_noise_silence_is_what_it_was() -> None:
    for noise in (None, torch.zeros(0, dtype=torch.int16)):
        found, _ = augment(OFF, clips(), 0, noise, silence=2)
        assert torch.equal(found, plain(clips()))


@given(st.integers(1, 20), st.integers(1, 20))
def test_noise_shorter_than_a_window_is_repeated(length: int, samples: int) -> None:
    windows = noise_windows(torch.arange(length), samples)
    assert windows.shape[1] == samples
    assert torch.equal(windows[0], torch.arange(samples) % length)
    assert torch.equal(windows[:, 0], torch.arange(len(windows)))


@given(seeds, st.floats(0.05, 5))
def test_mixup_mixes_waveforms_as_it_mixes_targets(seed: int, alpha: float) -> None:
    waveforms = torch.eye(4)[torch.arange(40) % 4]  # the clip tells its own class
    found, probabilities = augment(with_only(mixup=alpha), waveforms, seed)
    torch.testing.assert_close(found[:, 0], probabilities)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(40))
    assert 0 <= probabilities.min() <= probabilities.max() <= 1
    assert (probabilities.max(dim=1).values < 0.999).any()


def test_mixup_shares_spread_by_alpha() -> None:
    spreads = []
    for alpha in (0.1, 1.0, 10.0):
        _, probabilities = augment(with_only(mixup=alpha), torch.zeros(4000, 1))
        own = probabilities[torch.arange(4000), torch.arange(4000) % 4]
        spreads.append(float(own.var()))
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # by torch.compile itself, torch 2.11
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    noise, targets = clips(1, 200_000)[0], torch.arange(64) % 4
    waveforms = clips(64, RATE)
    results = []
    for device, compiled in (("cpu", False), ("cuda", False), ("cuda", True)):
        augmentation = Augment(EVERYTHING, RATE, noise.to(device), 4, 1, compiled)
        found, probabilities = augmentation(waveforms.to(device), targets.to(device), generator())
        assert (found.device.type, probabilities.device.type) == (device, device)
        results.append((found.cpu(), probabilities.cpu()))
        on_device = torch.Generator(device).manual_seed(0)
        assert augmentation(waveforms.to(device), targets.to(device), on_device)[0].device.type == device
    for result in results[1:]:
        for cpu, gpu in zip(results[0], result, strict=True):
            torch.testing.assert_close(cpu, gpu, atol=1e-3, rtol=0)
