"""Span masks: how much they hide, what they never hide, and what they follow from."""

from math import comb

import pytest
import torch
from test_golden import GOLDEN, TaskSettings, tiny_config

from mert_fairseq.errors import MertError
from mert_fairseq.models.mert import MERTConfig, MERTModel
from mert_fairseq.models.mert.masking import as_span_mask, draw_span_mask

FRAMES = 374  # of 5 s
CPU = torch.device("cpu")


def draw(ids, frames=FRAMES, padding=None, update=0, seed=1, **changes):
    cfg = MERTConfig(seed=seed, **changes)
    return draw_span_mask(cfg, (len(ids), frames), padding, torch.as_tensor(ids), update, CPU)


def drawn_alone(ids, **options):
    """[B, T]: each clip's mask in a batch of its own, where nothing is trimmed."""
    return torch.cat([draw([number], **options).indices for number in ids])


def padding_from(starts, frames=FRAMES):
    return torch.arange(frames)[None, :] >= torch.tensor(starts)[:, None]


def spans(row):
    """Lengths of the runs of masked frames."""
    text = "".join("x" if masked else " " for masked in row.tolist())
    return [len(run) for run in text.split()]


def expected_share(frames=FRAMES, prob=0.8, length=5):
    """Chance that a frame is masked: a span's start is one of `frames - length` places, drawn without replacement."""
    places = frames - length
    wanted = prob * frames / length
    shares = {}
    for spans_drawn in (int(wanted), int(wanted) + 1):
        covering = [min(frame, places - 1) - max(frame - length + 1, 0) + 1 for frame in range(frames)]
        shares[spans_drawn] = sum(1 - comb(places - k, spans_drawn) / comb(places, spans_drawn) for k in covering) / frames
    return shares[int(wanted)] * (1 - wanted % 1) + shares[int(wanted) + 1] * (wanted % 1)


def test_published_setting_masks_58_percent():
    share = drawn_alone(range(500)).float().mean(1)
    assert expected_share() == pytest.approx(0.58, abs=0.005)
    assert float(share.mean()) == pytest.approx(expected_share(), abs=0.003)  # 500 clips: standard error 0.001
    assert 0.45 < float(share.min()) and float(share.max()) < 0.7


def test_batch_of_four_masks_what_the_published_code_does():
    published = torch.load(GOLDEN, weights_only=True)["mask_stats_B4_T374"]
    shares = [float(draw(range(4 * batch, 4 * batch + 4)).indices.float().mean()) for batch in range(200)]
    assert published["same_count_in_batch"]
    assert sum(shares) / len(shares) == pytest.approx(published["fraction_mean"], abs=0.005)


def test_defaults_are_the_published_ones():
    cfg = MERTConfig(seed=1)
    assert (cfg.mask_prob, cfg.mask_length, cfg.mask_selection, cfg.no_mask_overlap) == (0.8, 5, "static", False)


def test_padding_is_never_masked():
    padding = padding_from([374, 300, 77, 20])
    for update in range(50):
        span_mask = draw(range(4), padding=padding, update=update)
        assert not (span_mask.indices & padding).any()
        in_padding = padding.flatten().nonzero().flatten()
        assert not torch.isin(span_mask.masked, in_padding).any()
        assert not torch.isin(span_mask.unmasked, in_padding).any()


def test_the_shortest_clip_of_a_padded_batch_bounds_the_others():
    padding = padding_from([374, 374, 100])
    span_mask = draw(range(3), padding=padding)
    counts = span_mask.indices.sum(1)
    assert counts.unique().numel() == 1
    assert 0.4 < counts[2] / 100 < 0.75 and counts[0] / 374 < 0.2


def test_same_seed_update_and_clip_give_the_same_mask():
    first = draw(range(8), update=3)
    torch.manual_seed(5)
    again = draw(range(8), update=3)
    for name in ("indices", "masked", "unmasked"):
        assert getattr(first, name).equal(getattr(again, name))


@pytest.mark.parametrize("change", [{"seed": 2}, {"update": 4}, {"ids": [8, 9, 10, 11]}])
def test_another_seed_update_or_clip_gives_another_mask(change):
    base = {"ids": [0, 1, 2, 3], "update": 3, "seed": 1}
    ours, other = drawn_alone(**base), drawn_alone(**{**base, **change})
    for clip in range(4):
        assert (ours[clip] != other[clip]).float().mean() > 0.2  # independent masks of 58% differ in 49% of the frames


def test_clips_of_a_batch_have_masks_of_their_own():
    masks = drawn_alone(range(6))
    assert len({tuple(mask.tolist()) for mask in masks}) == 6


def test_order_in_the_batch():
    """All clips of a batch get as many masked frames as the clip with the fewest; the surplus of the others goes at random.

    So what a clip's number decides is the mask it would have alone. In a batch it has a part of that one, of the same size in
    every order, whole for the clip with the fewest; which part depends on the batch, and the same batch gives the same parts.
    """
    ids = [11, 3, 7, 20, 5]
    alone = dict(zip(ids, drawn_alone(ids)))
    fewest = min(int(mask.sum()) for mask in alone.values())
    assert max(int(mask.sum()) for mask in alone.values()) > fewest
    for order in (ids, ids[::-1], [7, 20, 5, 3, 11]):
        drawn = draw(order).indices
        for number, mask in zip(order, drawn):
            assert not (mask & ~alone[number]).any()
            assert int(mask.sum()) == fewest
            if int(alone[number].sum()) == fewest:
                assert mask.equal(alone[number])


@pytest.mark.parametrize("length", [1, 3, 5, 10])
def test_masked_frames_are_whole_spans(length):
    for mask in drawn_alone(range(20), mask_length=length, mask_prob=0.3):
        assert min(spans(mask)) >= length


def test_at_least_two_spans():
    counts = {int(mask.sum()) for mask in drawn_alone(range(100), mask_prob=1e-6)}
    assert counts <= set(range(6, 11)) and 10 in counts  # two starts, which differ by one frame or more


def test_spans_reach_the_first_frame_and_the_last_but_one():
    """fairseq draws starts from T - length places, so the last frame is never masked."""
    share = drawn_alone(range(300), frames=40).float().mean(0)
    assert share[0] > 0.05 and share[38] > 0.05 and share[39] == 0


@pytest.mark.parametrize("frames", range(1, 8))
def test_clips_too_short_for_a_mask_are_refused(frames):
    """Whether a clip of fewer frames than a span and a little fits depends on the draw: refused, or masked with a frame left."""
    refused = 0
    for number in range(50):
        try:
            masked = int(draw([number], frames=frames).indices.sum())
            assert 0 < masked < frames
        except MertError as error:
            refused += 1
            assert f"clips of {frames} frames" in str(error) and "spans of 5" in str(error)
            assert "raise task.min_sample_size or lower model.mask_length" in str(error) and "\n" not in str(error)
    assert refused > 0 and (frames > 1 or refused == 50)


def test_clips_of_three_seconds_are_never_too_short():
    masks = drawn_alone(range(300), frames=224)  # task.min_sample_size, 72,000 samples
    assert masks.any(1).all() and not masks.all(1).any()


def test_more_spans_than_places_are_refused():
    with pytest.raises(MertError, match="mask_prob 30"):
        draw([0], mask_prob=30.0)


@pytest.mark.parametrize("with_padding", [False, True])
def test_positions_agree_with_the_mask(with_padding):
    padding = padding_from([50, 60, 41], 60) if with_padding else None
    span_mask = draw(range(3), frames=60, padding=padding)
    valid = torch.ones(3, 60, dtype=torch.bool) if padding is None else ~padding
    assert span_mask.indices.dtype == torch.bool and span_mask.indices.shape == (3, 60)
    masked = [60 * clip + t for clip in range(3) for t in range(60) if span_mask.indices[clip, t]]
    unmasked = [60 * clip + t for clip in range(3) for t in range(60) if valid[clip, t] and not span_mask.indices[clip, t]]
    assert span_mask.masked.tolist() == masked and span_mask.unmasked.tolist() == unmasked
    assert len(masked) + len(unmasked) == int(valid.sum())


def test_a_given_mask_is_taken_but_not_counted_on_padding():
    indices = torch.tensor([[True, False, True, True], [False, True, True, True]])
    padding = torch.tensor([[False, False, False, False], [False, False, False, True]])
    span_mask = as_span_mask(indices, padding, CPU)
    assert span_mask.indices.equal(indices)
    assert span_mask.masked.tolist() == [0, 2, 3, 5, 6] and span_mask.unmasked.tolist() == [1, 4]


@pytest.mark.parametrize("selection, other", [("normal", 2.0), ("poisson", 0.0)])
def test_span_lengths_may_vary(selection, other):
    masks = drawn_alone(range(20), mask_selection=selection, mask_other=other, mask_prob=0.2)
    assert 0.1 < masks.float().mean() < 0.25
    assert len({length for mask in masks for length in spans(mask)}) > 4


@pytest.mark.parametrize(
    "change", [{"mask_channel_prob": 0.3}, {"no_mask_overlap": True}, {"mask_selection": "uniform"}, {"target_glu": True}]
)
def test_inherited_settings_that_would_do_nothing_or_fail_are_refused(change):
    with pytest.raises(MertError, match=f"model.{next(iter(change))}=.* not supported"):
        MERTModel(tiny_config(**change), TaskSettings, [8])
