"""Noise mixup for any batch and any settings: where is added, how much, and that nothing else changes."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mert_fairseq.models.mert import MERTConfig
from mert_fairseq.models.mert.noise_mixup import draw_pieces, noise_mixup


@st.composite
def mixups(draw):
    """(settings, [B, S] float64 wave of whole numbers, so that sums are exact, ids, update)."""
    shortest, fewest = draw(st.integers(1, 60)), draw(st.integers(0, 3))
    cfg = MERTConfig(
        seed=draw(st.integers(0, 2**31)),
        mixture_prob=draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])),
        inbatch_noise_augment_len_range=[shortest, shortest + draw(st.integers(0, 60))],
        inbatch_noise_augment_number_range=[fewest, fewest + draw(st.integers(0, 3))],
        inbatch_noise_augment_volume=draw(st.sampled_from([0.25, 1.0, 2.0])),
    )
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 100))
    wave = np.random.default_rng(draw(st.integers(0, 2**32))).integers(-1000, 1000, shape)
    ids = draw(st.lists(st.integers(0, 10**9), min_size=shape[0], max_size=shape[0]))
    return cfg, torch.from_numpy(wave).double(), torch.tensor(ids), draw(st.integers(0, 10**6))


def pieces_of(cfg, source, ids, update):
    """What is drawn for a batch; nothing where nothing is mixed."""
    if len(source) < 2 or cfg.mixture_prob <= 0:
        return []
    return list(draw_pieces(cfg, np.random.default_rng([cfg.seed, update, *ids.tolist()]), *source.shape))


@settings(max_examples=200)
@given(mixups())
def test_pieces_lie_inside_and_are_as_many_and_as_long_as_set(mixup):
    cfg, source, ids, update = mixup
    num_clips, num_samples = source.shape
    shortest, longest = (min(bound, num_samples) for bound in cfg.inbatch_noise_augment_len_range)
    pieces = pieces_of(cfg, source, ids, update)
    for clip, place, pool_place, length in pieces:
        assert shortest <= length <= longest
        assert 0 <= place and place + length <= num_samples
        assert 0 <= pool_place and pool_place + length <= (num_clips - 1) * num_samples
    fewest, most = cfg.inbatch_noise_augment_number_range
    for count in np.bincount([clip for clip, *_ in pieces], minlength=num_clips):
        assert count == 0 or fewest <= count <= most


@settings(max_examples=200)
@given(mixups())
def test_what_is_added_is_other_clips_at_the_places_drawn_and_nothing_elsewhere(mixup):
    cfg, source, ids, update = mixup
    before = source.clone()
    added = noise_mixup(source, cfg, ids, update) - source
    assert source.equal(before)  # targets are computed from it afterwards
    wanted = torch.zeros_like(source)
    for clip, place, pool_place, length in pieces_of(cfg, source, ids, update):
        others = torch.cat([other for number, other in enumerate(source) if number != clip])
        wanted[clip, place : place + length] += cfg.inbatch_noise_augment_volume * others[pool_place : pool_place + length]
    assert added.equal(wanted)


@settings(max_examples=200)
@given(mixups())
def test_energy_added_is_bounded_by_that_of_the_pieces(mixup):
    """Of n pieces of volume v added to a clip, the norm of what is added is at most v times the sum of their norms."""
    cfg, source, ids, update = mixup
    bounds = torch.zeros(len(source), dtype=torch.float64)
    for clip, _, pool_place, length in pieces_of(cfg, source, ids, update):
        others = torch.cat([other for number, other in enumerate(source) if number != clip])
        bounds[clip] += cfg.inbatch_noise_augment_volume * others[pool_place : pool_place + length].norm()
    added = (noise_mixup(source, cfg, ids, update) - source).norm(dim=1)
    assert (added <= bounds * (1 + 1e-12)).all()


@settings(max_examples=100)
@given(mixups())
def test_the_same_draws_again(mixup):
    cfg, source, ids, update = mixup
    assert noise_mixup(source, cfg, ids, update).equal(noise_mixup(source, cfg, ids, update))
