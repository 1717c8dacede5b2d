"""In-batch noise mixup: how often, and what is added where.

The waves count through the batch (clip 0 holds 1 ... S, clip 1 S + 1 ... 2 S, in float64): an added value says where it is from.
"""

from collections import Counter

import numpy as np
import pytest
import torch
from test_golden import TaskSettings, tiny_config

from mert_fairseq.errors import MertError
from mert_fairseq.models.mert import MERTConfig, MERTModel
from mert_fairseq.models.mert.noise_mixup import draw_pieces, noise_mixup


def settings(prob=1.0, lengths=(3, 5), numbers=(1, 1), volume=1.0, seed=1):
    return MERTConfig(
        seed=seed,
        mixture_prob=prob,
        inbatch_noise_augment_len_range=list(lengths),
        inbatch_noise_augment_number_range=list(numbers),
        inbatch_noise_augment_volume=volume,
    )


def counting(num_clips, num_samples):
    return torch.arange(1, num_clips * num_samples + 1, dtype=torch.float64).reshape(num_clips, num_samples)


def mix(source, update=0, ids=None, **changes):
    return noise_mixup(source, settings(**changes), torch.arange(len(source)) if ids is None else torch.as_tensor(ids), update)


def pool_of(source, clip):
    """The other clips laid end to end."""
    return torch.cat([other for number, other in enumerate(source) if number != clip])


def added_runs(added):
    """(place, values) of the one stretch that is not 0; None if there is none."""
    places = added.nonzero().flatten().tolist()
    if not places:
        return None
    assert places == list(range(places[0], places[-1] + 1))
    return places[0], added[places[0] : places[-1] + 1]


@pytest.mark.parametrize("prob", [0.2, 0.8])
def test_share_of_mixed_clips_is_mixture_prob(prob):
    source = counting(40, 16)
    mixed = torch.stack([(mix(source, update, prob=prob) != source).any(1) for update in range(100)])
    assert float(mixed.float().mean()) == pytest.approx(prob, abs=0.02)  # 4000 clips: standard error 0.006
    assert (mixed.float().mean(0) - prob).abs().max() < 0.2  # whatever the place in the batch


@pytest.mark.parametrize("prob", [0.0, -1.0])
def test_off(prob):
    source = counting(4, 16)
    assert mix(source, prob=prob) is source


def test_always():
    source = counting(4, 16)
    assert all((mix(source, update, prob=1.0) != source).any(1).all() for update in range(50))


def test_source_is_left_as_it_is():
    source = counting(4, 16)
    mixed = mix(source)
    assert not mixed.equal(source) and source.equal(counting(4, 16))


def test_a_piece_is_a_stretch_of_the_other_clips_end_to_end():
    """One piece per clip: consecutive values of the pool, at any place of it, across two clips too; never of the clip itself."""
    source, lengths, straddling, origins = counting(3, 8), Counter(), 0, Counter()
    for update in range(600):
        added = mix(source, update) - source
        for clip in range(3):
            _, piece = added_runs(added[clip])
            pool = pool_of(source, clip)
            start = pool.tolist().index(float(piece[0]))
            assert piece.equal(pool[start : start + len(piece)])
            lengths[len(piece)] += 1
            straddling += start < 8 < start + len(piece)
            origins.update((clip, int(value - 1) // 8) for value in piece)
    assert set(lengths) == {3, 4, 5} and max(lengths.values()) < 1.2 * min(lengths.values())
    assert straddling > 300
    assert set(origins) == {(clip, other) for clip in range(3) for other in range(3) if clip != other}


def test_pieces_reach_both_ends_of_the_clip_and_of_the_pool():
    source, places, ends, pool_starts, pool_ends = counting(2, 8), set(), set(), set(), set()
    for update in range(600):
        place, piece = added_runs((mix(source, update) - source)[0])
        places.add(place)
        ends.add(place + len(piece))
        pool_starts.add(int(piece[0]) - 9)
        pool_ends.add(int(piece[-1]) - 9)
    assert places == {0, 1, 2, 3, 4, 5} and ends == {3, 4, 5, 6, 7, 8}
    assert pool_starts == {0, 1, 2, 3, 4, 5} and pool_ends == {2, 3, 4, 5, 6, 7}


def test_number_and_length_bounds_are_inclusive():
    cfg, numbers, lengths = settings(lengths=(10, 13), numbers=(1, 3)), Counter(), Counter()
    for update in range(1000):
        pieces = list(draw_pieces(cfg, np.random.default_rng(update), 3, 100))
        for clip in range(3):
            numbers[sum(piece[0] == clip for piece in pieces)] += 1
        lengths.update(piece[3] for piece in pieces)
    assert set(numbers) == {1, 2, 3} and set(lengths) == {10, 11, 12, 13}
    for counts in (numbers, lengths):
        assert max(counts.values()) < 1.15 * min(counts.values())


def test_published_bounds():
    cfg = MERTConfig(seed=1)
    assert (cfg.mixture_prob, cfg.inbatch_noise_augment_volume) == (0.5, 1.0)
    assert cfg.inbatch_noise_augment_len_range == [12_000, 24_000] and cfg.inbatch_noise_augment_number_range == [1, 3]


def test_several_pieces_add_up():
    """What three pieces add is the sum of the three; where they overlap nothing is averaged or clipped."""
    source, overlaps = counting(2, 8), 0
    for update in range(50):
        cfg = settings(numbers=(3, 3))
        wanted = torch.zeros(2, 8, dtype=torch.float64)
        covered = torch.zeros(2, 8)
        for clip, place, pool_place, length in draw_pieces(cfg, np.random.default_rng([1, update, 0, 1]), 2, 8):
            wanted[clip, place : place + length] += pool_of(source, clip)[pool_place : pool_place + length]
            covered[clip, place : place + length] += 1
        assert (mix(source, update, numbers=(3, 3)) - source).equal(wanted)
        overlaps += int(covered.max() == 3)
    assert overlaps > 10


@pytest.mark.parametrize("volume", [0.25, 1.0, 2.0])
def test_volume_scales_what_is_added(volume):
    source = counting(3, 8)
    louder = mix(source, volume=volume) - source
    assert louder.equal(volume * (mix(source) - source)) and louder.any()


def test_a_clip_shorter_than_a_segment_gets_one_of_its_own_length():
    source = counting(3, 8)
    for update in range(30):
        added = mix(source, update, lengths=(12, 24)) - source
        for clip in range(3):
            start = pool_of(source, clip).tolist().index(float(added[clip, 0]))
            assert added[clip].equal(pool_of(source, clip)[start : start + 8])


def test_a_clip_between_the_bounds_bounds_the_length():
    source = counting(2, 8)
    lengths = {len(added_runs((mix(source, update, lengths=(6, 24)) - source)[0])[1]) for update in range(100)}
    assert lengths == {6, 7, 8}


def test_a_batch_of_one_stays_clean():
    source = counting(1, 100)
    assert all(mix(source, update).equal(source) for update in range(20))


def test_draws_follow_from_seed_update_and_clips():
    source = counting(3, 400)
    options = {"update": 5, "ids": [7, 8, 9], "seed": 3, "lengths": (100, 200), "numbers": (1, 3)}
    mixed = mix(source, **options)
    torch.manual_seed(9)
    np.random.seed(9)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    assert mix(source, **options).equal(mixed)
    assert torch.get_rng_state().equal(before[0]) and (np.random.get_state()[1] == before[1]).all()
    for change in ({"update": 6}, {"ids": [7, 8, 10]}, {"ids": [8, 7, 9]}, {"seed": 4}):
        assert not mix(source, **{**options, **change}).equal(mixed)


def test_half_precision_wave_keeps_its_type():
    source = torch.randn(3, 50, generator=torch.Generator().manual_seed(0)).bfloat16()
    mixed = mix(source)
    assert mixed.dtype == torch.bfloat16 and not mixed.equal(source)


@pytest.mark.parametrize(
    "change",
    [
        {"inbatch_noise_augment_len_range": [24_000, 12_000]},
        {"inbatch_noise_augment_len_range": [0, 12_000]},
        {"inbatch_noise_augment_len_range": [12_000]},
        {"inbatch_noise_augment_number_range": [3, 1]},
        {"inbatch_noise_augment_number_range": [-1, 1]},
    ],
)
def test_bounds_the_wrong_way_round_are_refused(change):
    with pytest.raises(MertError, match=f"model.{next(iter(change))}=.*least, most"):
        MERTModel(tiny_config(**change), TaskSettings, [8])
