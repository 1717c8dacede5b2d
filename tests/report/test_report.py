"""The report of a run: held against its baselines, its table, its picture, and runs that are not whole."""

import io
import struct

import numpy as np
import pytest
from baselines_by_hand import BY_HAND, CQT_BY_HAND, LN2, assert_close
from logs_of_runs import train_record, valid_record, write_config, write_log

from mert_fairseq.errors import MertError
from mert_fairseq.report.baselines import CodeBaseline
from mert_fairseq.report.canvas import write_png
from mert_fairseq.report.learning import LearningReport, read_report, table
from mert_fairseq.report.learning_curves import draw
from mert_fairseq.report.run_log import RunLog


@pytest.fixture
def run(corpus, stores, tmp_path):
    """A run folder: four validations, the third the best; its stores hold the arrays of `baselines_by_hand`."""
    stores("codes")
    stores("cqt")
    run = write_log(
        tmp_path / "run",
        valid_record(100, (1.5, 1.25), (0.125, 0.25), cqt=2.0),
        valid_record(200, (1.0, 1.0), (0.25, 0.5), cqt=1.5),
        valid_record(300, (0.5, 0.625), (0.75, 0.5625), cqt=1.25),
        valid_record(400, (0.75, 0.5), (0.625, 0.875), cqt=1.0),
    )
    task = {"data": str(corpus.manifests), "label_dir": str(corpus.labels), "labels": ["codes"], "cqt_labels": "cqt"}
    write_config(run, task, tmp_path)
    return run


def test_a_report_holds_the_run_against_its_baselines(run):
    report = read_report(run)
    for ours, by_hand in zip(report.codes, BY_HAND, strict=True):
        assert_close(ours, by_hand)
    assert_close(report.cqt, CQT_BY_HAND)
    assert report.best_update == 300
    assert report.gain(400, 1) == pytest.approx(BY_HAND[1].entropy - 0.5)
    assert report.total_gain(300) == pytest.approx(BY_HAND[0].entropy + BY_HAND[1].entropy - 1.125)
    assert report.cqt_ratio(300) == 0.5


def test_the_table_has_the_figures_of_first_and_best(run):
    """Entropies 1.5 ln 2 = 1.0397 and 0.5623; cross-entropies 2.25 ln 2 = 1.5596 and 1.5993."""
    lines = table(read_report(run)).split("\n")
    assert len(lines) == 6 and lines[0].startswith("update 100 -> 400, best 300 ")
    assert lines[2].replace(",", "").split() == ["0", "1.50", "->", "0.50", "1.04", "0.54", "75.00", "25.00", "50.00"]
    assert lines[3].replace(",", "").split() == ["1", "1.25", "->", "0.62", "0.56", "-0.06", "56.25", "25.00", "75.00"]
    assert lines[4] == (  # 1.6021 - 1.125 and 3.1589 - 1.125
        "summed: 1.12, 0.48 below the held-out entropy 1.60, 2.03 below the training tracks' frequencies 3.16"
    )
    assert lines[5] == (
        "CQT error: 2.0000 -> 1.2500; mean spectrum 2.5000 (held-out's own; training tracks' 3.0000); ratio 0.500 (0.417)"
    )


def test_a_run_without_stored_cqt(run, corpus, tmp_path):
    task = {"data": "manifests", "label_dir": "labels", "labels": ["codes"]}  # relative to where the run was started
    write_config(run, task, tmp_path)
    report = read_report(run)
    assert report.cqt is None and report.cqt_ratio(300) is None
    assert "CQT: no store to take a baseline from; make one with `mert labels cqt`" in table(report)
    assert is_png(draw(report))


def test_a_run_that_does_not_predict_the_cqt(run, tmp_path):
    write_log(run, valid_record(100, (1.5, 1.25), cqt=None))
    report = read_report(run)
    assert report.cqt_ratio(100) is None and "CQT: not predicted by this run" in table(report)
    assert is_png(draw(report))


def test_a_run_before_its_first_validation(run):
    write_log(run, train_record(50, 12.0))
    with pytest.raises(MertError, match="hydra_train.log: no validation logged yet; let the run reach dataset.validate_interval_updates"):
        read_report(run)


@pytest.mark.parametrize("losses", [(), (1.5,)])
def test_a_log_of_other_codebooks_is_refused(run, losses):
    write_log(run, valid_record(100, losses))
    with pytest.raises(MertError, match="run: no validation of 2 codebooks in its log; give a run trained on"):
        read_report(run)


def test_a_run_whose_targets_are_gone(run, corpus):
    for path in (corpus.labels / "valid.codes").iterdir():
        path.unlink()
    with pytest.raises(MertError, match="valid.codes: no complete shard"):
        read_report(run)


def is_png(content):
    return content[:8] == b"\x89PNG\r\n\x1a\n" and content[-8:-4] == b"IEND"


def test_the_picture_is_a_png_of_a_size_to_look_at(run):
    content = draw(read_report(run))
    assert is_png(content)
    width, height = struct.unpack(">II", content[16:24])
    assert 1000 <= width <= 2000 and 300 <= height <= 800

    from matplotlib import image

    pixels = image.imread(io.BytesIO(content))
    assert pixels.shape[:2] == (height, width)
    for third in np.array_split(pixels[..., :3], 3, axis=1):  # something is drawn in each of the three diagrams, in colour
        assert ((third.max(axis=2) - third.min(axis=2)) > 0.2).sum() > 100


def test_the_picture_shows_the_curves(run, monkeypatch):
    """Gains and accuracies of both codebooks, the CQT's error and its mean spectrum."""
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *args, **kwargs: figures.append(figure))
    draw(read_report(run))
    gains, accuracy, spectrum = ([list(line.get_ydata()) for line in axes.lines] for axes in figures[0].axes)
    assert all(list(axes.lines[0].get_xdata()) == [100, 200, 300, 400] for axes in figures[0].axes)
    assert gains[0] == pytest.approx([1.5 * LN2 - loss for loss in (1.5, 1.0, 0.5, 0.75)])
    assert gains[1] == pytest.approx([BY_HAND[1].entropy - loss for loss in (1.25, 1.0, 0.625, 0.5)])
    assert accuracy[::2] == [[12.5, 25.0, 75.0, 62.5], [25.0, 50.0, 56.25, 87.5]]
    assert [baseline[0] for baseline in accuracy[1::2]] == [50.0, 75.0]
    assert spectrum[0] == [2.0, 1.5, 1.25, 1.0] and spectrum[1][0] == 2.5


def test_a_picture_that_cannot_be_written(tmp_path):
    with pytest.raises(MertError, match="nowhere/curves.png: cannot be written .*--picture"):
        write_png(b"", tmp_path / "nowhere" / "curves.png", "--picture")


def test_a_table_of_one_validation(tmp_path):
    log = RunLog({}, {7: {"loss_codes_m": 1.0, "loss_m_0": 1.0, "correct_m_0": 0.5}})
    report = LearningReport(tmp_path, log, [CodeBaseline(1.25, 1.5, 0.25, 0.5)], None)
    lines = table(report).split("\n")
    assert lines[0].startswith("update 7 -> 7, best 7 ")
    assert lines[2].replace(",", "").split() == ["0", "1.00", "->", "1.00", "1.25", "0.25", "50.00", "25.00", "50.00"]
