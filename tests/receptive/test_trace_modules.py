"""More modules that nobody here wrote: attention in segments, feature extractors, transforms of torchaudio."""

import math
from fractions import Fraction

import pytest
import torch
from measured import Function
from networks import as_measured, facts, signal
from sweeps import sweep
from torch import nn

from wavedil.data.torchaudio_compat import torchaudio
from wavedil.receptive.trace import trace


def of_frames(x, module):
    """A module over ``(batch, time, features)`` that wants lengths too and gives them back."""
    return module(x.mT, torch.tensor([x.shape[-1]]))[0].mT


@pytest.mark.full
def test_emformer_reads_segments_and_their_surroundings():
    """Segments of 4 frames, 8 before them and 1 behind."""
    module = torchaudio().models.Emformer(8, 2, 16, 1, segment_length=4, right_context_length=1, left_context_length=8)
    run = Function(lambda x, module: module(x.mT, torch.tensor([x.shape[-1] - 1]))[0].mT, module=module.eval())
    field = as_measured(run, signal(8, 41)).fields[0]
    assert (field.outputs, field.inputs) == (4, 4)
    assert {field.at(n) for n in range(4)} == {(-8, 4)}


@pytest.mark.full
def test_conformer_attends_to_everything():
    module = torchaudio().models.Conformer(8, 2, 16, 1, depthwise_conv_kernel_size=7).eval()
    assert facts(as_measured(Function(of_frames, module=module), signal(8, 20))) == (-math.inf, math.inf, 1)


@pytest.mark.parametrize(
    ("norms", "expected"), [("layer_norm", (0, 399, 320)), ("group_norm", (-math.inf, math.inf, 320))]
)
def test_the_feature_extractor_of_wav2vec(norms, expected):
    """25 ms every 20 ms at 16 kHz, says the paper (Baevski et al. 2020, arXiv:2006.11477); or a norm over time."""
    layers = [(8, 10, 5), *[(8, 3, 2)] * 4, *[(8, 2, 2)] * 2]
    module = torchaudio().models.wav2vec2.components._get_feature_extractor(norms, layers, True)
    run = Function(lambda x, module: module(x, None)[0].mT, module=module.eval())
    assert facts(trace(run, torch.zeros(1, 8000))) == expected


RESAMPLED = [(8_000, 2), (24_000, Fraction(2, 3)), (11_025, Fraction(640, 441))]


@pytest.mark.parametrize(("new", "hop"), sweep(RESAMPLED, RESAMPLED[:2].__contains__))
def test_resampling(new, hop):
    """Each phase has taps of its own, among which are zeros, where a sinc is sampled at its zeros."""
    traced = as_measured(torchaudio().transforms.Resample(16_000, new), signal(1, 300))
    assert traced.fields[0].stride == hop


def test_mel_spectrogram_and_cepstrum():
    """The window's first value is zero, so 399 samples; decibels below the loudest of all read everything."""
    transforms = torchaudio().transforms
    mel = transforms.MelSpectrogram(n_fft=400, hop_length=160, n_mels=20)
    assert facts(as_measured(mel, torch.zeros(1, 1000))) == (-199, 199, 160)
    cepstrum = transforms.MFCC(n_mfcc=10, melkwargs={"n_fft": 256, "hop_length": 64, "n_mels": 20})
    assert facts(trace(cepstrum, torch.zeros(1, 1000))) == (-math.inf, math.inf, 64)


def test_a_spectrogram_of_one_channel_and_back():
    transforms = torchaudio().transforms
    there = transforms.Spectrogram(n_fft=64, power=None)
    back = nn.Sequential(there, transforms.InverseSpectrogram(n_fft=64))
    # Frames of 63 samples, 32 apart: each sample lies in two, or in one where the window of the other is zero.
    field = as_measured(back, torch.zeros(1, 600)).fields[0]
    assert (field.outputs, field.at(0), field.at(1)) == (32, (-31, 31), (-31, 63))
