"""Span masks for any batch, padding and settings: what share they hide, in spans, and never padding."""

from itertools import groupby

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mert_fairseq.errors import MertError
from mert_fairseq.models.mert import MERTConfig
from mert_fairseq.models.mert.masking import MIN_SPANS, draw_span_mask

CPU = torch.device("cpu")


@st.composite
def batches(draw, num_clips=st.integers(1, 5), padded=st.booleans()):
    """(settings, shape, padding or None, ids, update)."""
    length = draw(st.integers(1, 12))
    cfg = MERTConfig(seed=draw(st.integers(0, 2**31)), mask_prob=draw(st.floats(0.05, 1.0)), mask_length=length)
    shape = draw(num_clips), draw(st.integers(1, 200))
    padding = None
    if draw(padded):
        starts = torch.tensor([draw(st.integers(1, shape[1])) for _ in range(shape[0])])
        padding = torch.arange(shape[1])[None, :] >= starts[:, None]
    ids = torch.tensor(draw(st.lists(st.integers(0, 10**9), min_size=shape[0], max_size=shape[0])))
    return cfg, shape, padding, ids, draw(st.integers(0, 10**6))


def drawn(batch):
    """The mask; examples whose clips are too short for one are left out."""
    try:
        return draw_span_mask(*batch, CPU)
    except MertError:
        assume(False)


@settings(max_examples=200)
@given(batches())
def test_padding_is_never_masked_and_positions_are_of_the_mask(batch):
    span_mask, (_, shape, padding, _, _) = drawn(batch), batch
    valid = torch.ones(shape, dtype=torch.bool) if padding is None else ~padding
    assert not (span_mask.indices & ~valid).any()
    assert span_mask.masked.tolist() == span_mask.indices.flatten().nonzero().flatten().tolist()
    assert span_mask.unmasked.tolist() == (valid & ~span_mask.indices).flatten().nonzero().flatten().tolist()


@settings(max_examples=200)
@given(batches())
def test_all_clips_of_a_batch_have_as_many_masked_frames(batch):
    counts = drawn(batch).indices.sum(1)
    assert counts.min() == counts.max() >= 1


@settings(max_examples=200)
@given(batches(num_clips=st.just(1)))
def test_share_and_spans_of_a_clip(batch):
    """prob x T / length spans, rounded at random: distinct starts hide at least length + spans - 1 frames, at most length x spans."""
    span_mask, (cfg, shape, padding, _, _) = drawn(batch), batch
    frames = shape[1] if padding is None else int((~padding).sum())
    wanted = cfg.mask_prob * frames / cfg.mask_length
    fewest, most = max(MIN_SPANS, int(wanted)), max(MIN_SPANS, int(wanted) + 1)
    row = span_mask.indices[0].tolist()
    runs = [len(list(run)) for masked, run in groupby(row) if masked]
    places = frames - cfg.mask_length  # where a span may start; no more spans than that
    assume(places > most)
    assert cfg.mask_length + fewest - 1 <= sum(row) <= cfg.mask_length * most
    assert min(runs) >= cfg.mask_length and len(runs) <= most


@settings(max_examples=100)
@given(batches())
def test_the_same_mask_again(batch):
    first = drawn(batch)
    torch.manual_seed(1)
    assert first.indices.equal(drawn(batch).indices)
