"""Frame arithmetic holds for any number of samples and any convolution stack, by the definitions it stands for."""

from fractions import Fraction
from math import ceil, floor, prod

import numpy as np
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mert_fairseq.frames import (
    CONV_LAYERS,
    HOP,
    SAMPLE_RATE,
    floor_to_grid,
    frame_span,
    num_code_frames,
    num_conv_frames,
    num_cqt_frames,
    receptive_field,
)

SAMPLES = st.integers(0, 10**13)  # thirteen years of audio
STACKS = st.lists(st.tuples(st.just(1), st.integers(1, 12), st.integers(1, 6)), min_size=1, max_size=6)


def convolved(num_samples, layers):
    """Frames that torch's own convolutions leave; 0 where a kernel does not fit."""
    wave = torch.zeros(1, 1, num_samples)
    for _, kernel, stride in layers:
        if wave.size(2) < kernel:
            return 0
        wave = torch.nn.functional.conv1d(wave, torch.ones(1, 1, kernel), stride=stride)
    return wave.size(2)


@settings(max_examples=200)
@given(st.integers(1, 3_000), STACKS)
def test_frames_are_what_the_convolutions_leave(num_samples, layers):
    assert num_conv_frames(num_samples, layers) == convolved(num_samples, layers)


@settings(max_examples=200)
@given(STACKS, st.integers(0, 1_000))
def test_the_receptive_field_gives_one_frame_and_each_further_hop_one_more(layers, further):
    field, hop = receptive_field(layers), prod(stride for _, _, stride in layers)
    assert num_conv_frames(field, layers) == 1 and num_conv_frames(field - 1, layers) == 0
    assert num_conv_frames(field + further * hop, layers) == 1 + further
    assert num_conv_frames(field + further * hop + hop - 1, layers) == 1 + further


@settings(max_examples=200)
@given(SAMPLES)
def test_codes_cover_the_audio_and_no_frame_more(num_samples):
    frames = num_code_frames(num_samples)
    assert (frames - 1) * HOP < num_samples <= frames * HOP or num_samples == frames == 0


@settings(max_examples=200)
@given(SAMPLES)
def test_cqt_frames_are_centred_within_the_audio_or_at_its_end(num_samples):
    last = num_cqt_frames(num_samples) - 1
    assert last * HOP <= num_samples < (last + 1) * HOP


@settings(max_examples=200)
@given(SAMPLES)
def test_every_frame_of_the_convolutions_has_its_targets(num_samples):
    """Paired by index, whatever the length: codes and CQT never run out first."""
    frames = num_conv_frames(num_samples, CONV_LAYERS)
    assert frames <= num_code_frames(num_samples) and frames <= num_cqt_frames(num_samples)
    if num_samples >= receptive_field():
        assert num_samples // HOP - 1 <= frames <= num_samples // HOP


@settings(max_examples=200)
@given(SAMPLES)
def test_the_grid(num_samples):
    place = floor_to_grid(num_samples)
    assert place % HOP == 0 and num_samples - HOP < place <= num_samples


@settings(max_examples=200)
@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=5), st.integers(1, 1_000), st.integers(1, 1_000))
def test_spans_of_frames_are_exact_at_any_rate(lengths, numerator, denominator):
    """Floor and ceiling of S x rate / 24000 in whole numbers, of one length and of many at once."""
    exact = Fraction(numerator, denominator)
    assume(exact == Fraction(float(exact)).limit_denominator(1000))
    whole, touched = frame_span(np.array(lengths), float(exact))
    for place, length in enumerate(lengths):
        frames = length * exact / SAMPLE_RATE
        assert frame_span(length, float(exact)) == (floor(frames), ceil(frames)) == (whole[place], touched[place])
