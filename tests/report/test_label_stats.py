"""The figures of target stores: as counted by hand, whatever the blocks and shards, and what the picture shows."""

import json
import math
import sys

import numpy as np
import pytest

from mert_fairseq.data.target_store import store_folder
from mert_fairseq.errors import MertError
from mert_fairseq.report import label_stats
from mert_fairseq.report.canvas import NoMatplotlib
from mert_fairseq.report.label_picture import draw
from mert_fairseq.report.label_stats import CodebookStats, store_stats
from mert_fairseq.report.label_table import table

#: Rows of 4, 0, 1 and 3 frames. Codebook 0: entries 0 0 0 1 | 1 | 1 1 2, codebook 1: always 5.
CODES = [np.array([[0, 5], [0, 5], [0, 5], [1, 5]]), np.zeros((0, 2), int), np.array([[1, 5]]), np.array([[1, 5], [1, 5], [2, 5]])]
CQT = [np.array([[0, 2, 0.5], [0, 0, 0]]), np.array([[1, 0, 0], [3, 0, 0.5]])]


@pytest.fixture
def codes(corpus):
    def make(num_shards=1, arrays=CODES, split="train", **changes):
        manifest = corpus.manifest([320] * len(arrays), split)
        values = {"num_classes": [4, 6], **changes}
        return corpus.store(manifest, arrays, split, num_shards=num_shards, **values)

    return make


@pytest.mark.parametrize("block", [1, 2, 3, 5, 1 << 14])
@pytest.mark.parametrize("num_shards", [1, 2, 4])
def test_codes_by_hand(codes, monkeypatch, block, num_shards):
    monkeypatch.setattr(label_stats, "BLOCK", block)
    stats = store_stats(codes(num_shards))
    assert (stats.split, stats.name, stats.info.teacher) == ("train", "codes", "maker")
    assert (stats.num_shards, stats.num_rows, stats.num_empty, stats.num_frames, stats.num_read) == (num_shards, 4, 1, 8, 8)
    assert stats.hours == 8 / 75 / 3600
    first, second = stats.codebooks
    assert first.counts.tolist() == [3, 4, 1, 0] and second.counts.tolist() == [0, 0, 0, 0, 0, 8]
    assert (first.num_used, first.num_dead, second.num_used, second.num_dead) == (3, 1, 1, 5)
    entropy = -(3 * math.log(3 / 8) + 4 * math.log(4 / 8) + math.log(1 / 8)) / 8
    assert first.perplexity == pytest.approx(math.exp(entropy)) and second.perplexity == 1
    assert (first.top_share, second.top_share) == (0.5, 1.0)
    # Frames that follow another of their row: 3 + 0 + 2; two and one repeat it. Row ends do not count.
    assert (first.num_repeats, first.num_pairs, first.repeat_rate) == (3, 5, 0.6)
    assert (second.num_repeats, second.num_pairs, second.repeat_rate) == (5, 5, 1.0)


def test_size_on_disk(codes):
    folder = codes(2)
    stats = store_stats(folder)
    assert stats.num_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert stats.megabytes_per_hour == pytest.approx(stats.num_bytes / 1e6 / (8 / 75 / 3600))


@pytest.mark.parametrize(
    "counts, collapsed",
    [
        ([1] * 20, False),
        ([1] * 10 + [0] * 10, False),
        ([1] * 9 + [0] * 11, True),  # more than half dead
        ([100_000] + [1] * 99, True),  # perplexity near 1 of 100
        ([1000] * 6 + [1] * 94, False),  # above 5
    ],
)
def test_what_counts_as_collapsed(counts, collapsed):
    assert CodebookStats(np.array(counts)).collapsed == collapsed


@pytest.mark.parametrize("block", [1, 3, 1 << 14])
def test_spectra_by_hand(corpus, monkeypatch, block):
    monkeypatch.setattr(label_stats, "BLOCK", block)
    folder = corpus.store(corpus.manifest([320, 320]), CQT, kind="cqt", num_shards=2)
    stats = store_stats(folder)
    assert stats.codebooks == [] and stats.num_read == 4
    assert stats.spectrum.sums.tolist() == [4, 2, 1] and stats.spectrum.maxima.tolist() == [3, 2, 0.5]
    assert stats.spectrum.num_zero == 1
    lines = table(stats).splitlines()
    assert lines[0].startswith("train.cqt: cqt by maker, 2 shards, 2 rows (0 empty), 4 frames, 0.00 h, ")
    assert lines[1:] == ["  3 bins, mean 0.5833, max 3, 25.00 % of the frames all zero"]


def test_spectra_kept_as_bytes_are_magnitudes_again(corpus):
    """Levels 255, 0 and 51 are 1, 0 and 1/25 of the bin's scale."""
    levels = [np.array([[255, 0, 51]]), np.array([[0, 0, 0], [51, 255, 255]])]
    folder = corpus.store(corpus.manifest([320, 320]), levels, kind="cqt", scale=[5.0, 2.0, 100.0])
    spectrum = store_stats(folder).spectrum
    assert spectrum.sums == pytest.approx([5.2, 2, 104]) and spectrum.maxima == pytest.approx([5, 2, 100])
    assert spectrum.num_zero == 1


@pytest.mark.parametrize("frames, wanted", [(1000, 100), (1000, 999), (5000, 700), (10, 1)])
def test_a_sample_is_spread_over_the_store(codes, monkeypatch, frames, wanted):
    monkeypatch.setattr(label_stats, "STRETCHES", 10)
    stats = store_stats(
        codes(arrays=[np.stack([np.arange(frames), np.zeros(frames)], axis=1)], num_classes=[frames, 1]), wanted / 75 / 3600
    )
    assert wanted <= stats.num_read <= 1.2 * wanted and stats.num_frames == frames
    heard = np.flatnonzero(stats.codebooks[0].counts)
    assert stats.codebooks[0].counts.max() == 1 and heard[0] == 0
    if wanted > 1:
        assert heard[-1] >= 0.8 * frames and np.diff(heard).max() <= frames / 10
    if stats.num_read < frames:
        assert table(stats).splitlines()[1] == f"  figures from {stats.num_read:,} frames, 0.00 h, spread over the store"


def test_a_limit_above_the_store_reads_all_of_it(codes):
    assert store_stats(codes(), 1000.0).num_read == 8


def test_the_table(codes):
    lines = table(store_stats(codes())).splitlines()
    assert lines[0].startswith("train.codes: codes by maker, 1 shard, 4 rows (1 empty), 8 frames, 0.00 h, ")
    assert lines[0].endswith(" MB per hour")
    assert lines[1].split() == ["codebook", "entries", "used", "dead", "perplexity", "top", "%", "repeat", "%"]
    assert lines[2].split() == ["0", "4", "3", "1", "2.6", "50.00", "60.00"]
    assert lines[3].split() == ["1", "6", "1", "5", "1.0", "100.00", "100.00"]
    warning = "  warning: train.codes codebook 1 collapsed? perplexity 1.0, 5 of 6 entries dead in 8 frames"
    assert len(lines) == 5 and lines[4].startswith(warning)


def test_a_store_without_frames(codes, tmp_path):
    stats = store_stats(codes(arrays=[np.zeros((0, 2))] * 2), 1.0)
    assert (stats.num_frames, stats.num_empty, stats.megabytes_per_hour) == (0, 2, 0)
    assert table(stats).splitlines()[1:] == ["  no frames, so no figures"]
    draw([stats], tmp_path / "it.png")
    assert (tmp_path / "it.png").is_file()


def edit(path, **changes):
    side = path.with_suffix(".json")
    side.write_text(json.dumps({**json.loads(side.read_text()), "content_sha256": "", **changes}))  # as older versions wrote it


def test_codes_outside_their_codebook_are_refused(codes):
    folder = codes()
    path = folder / "shard-00000-of-00001.npy"
    edit(path, num_classes=[2, 6])
    with pytest.raises(MertError, match=f"^{path}: codebook 0: code 2, 0 to 1 allowed; `mert labels check` names"):
        store_stats(folder)


def test_shards_of_two_teachers_are_refused(codes):
    folder = codes(2)
    edit(folder / "shard-00001-of-00002.npy", num_classes=[4, 7])
    with pytest.raises(MertError, match="shard-00001-of-00002.npy: num_classes differs from the first"):
        store_stats(folder)


def test_a_missing_shard_is_refused(codes):
    folder = codes(2)
    (folder / "shard-00000-of-00002.json").unlink()
    with pytest.raises(MertError, match="shard-00000-of-00002.json: missing"):
        store_stats(folder)


# The picture.


@pytest.fixture
def figures(monkeypatch):
    """Figures saved, none of them drawn."""
    from matplotlib.figure import Figure

    found = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *arguments, **names: found.append(figure))
    return found


def test_the_picture_has_a_row_for_each_name_and_splits_side_by_side(corpus, codes, figures, tmp_path):
    folders = [codes(split=split) for split in ("valid", "train")]
    folders.append(corpus.store(corpus.manifest([320, 320]), CQT, kind="cqt"))
    draw([store_stats(folder) for folder in folders], tmp_path / "it.png")
    (figure,) = figures
    titles = [part.get_suptitle() for part in figure.subfigs]
    assert [title.split(":")[0] for title in titles] == ["train.codes", "valid.codes", "train.cqt", ""]
    bars, curves = figure.subfigs[0].axes
    stats = store_stats(store_folder(corpus.labels, "train", "codes"))
    assert [bar.get_height() for bar in bars.patches] == [codebook.perplexity for codebook in stats.codebooks]
    first, second = curves.lines[:2]
    assert first.get_xdata().tolist() == [1, 2, 3] and first.get_ydata().tolist() == [4 / 8, 3 / 8, 1 / 8]
    assert second.get_xdata().tolist() == [1] and second.get_ydata().tolist() == [1]
    assert (curves.get_xscale(), curves.get_yscale()) == ("log", "log")
    assert curves.get_ylim() == figure.subfigs[1].axes[1].get_ylim()
    (spectrum,) = figure.subfigs[2].axes
    assert spectrum.lines[0].get_ydata().tolist() == [1, 0.5, 0.25]


def test_without_matplotlib_a_line_says_how_to_get_it(codes, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(NoMatplotlib, match='^no matplotlib for the picture: pip install "mert-fairseq\\[demo\\]"$'):
        draw([store_stats(codes())], tmp_path / "it.png")


def test_a_picture_that_cannot_be_written(codes, tmp_path):
    with pytest.raises(MertError, match="it.png: the picture cannot be written .*; name another place with --picture"):
        draw([store_stats(codes())], tmp_path / "nowhere" / "it.png")
