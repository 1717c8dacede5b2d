"""The report of a run: baselines as computed by hand, logs as runs leave them, and the figures in the table."""

import io
import json
import math
import struct

import numpy as np
import pytest

from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.errors import MertError
from mert_fairseq.report import baselines
from mert_fairseq.report.baselines import CodeBaseline, CQTBaseline, code_baselines, cqt_baseline
from mert_fairseq.report.canvas import write_png
from mert_fairseq.report.learning import LearningReport, read_report, table
from mert_fairseq.report.learning_curves import draw
from mert_fairseq.report.run_log import RunLog, read_run_config, read_run_log

LN2 = math.log(2)

#: Two rows each; codebooks of 4 and 3 entries.
TRAIN_CODES = ([[0, 2], [0, 2], [1, 2]], [[0, 0]])
VALID_CODES = ([[0, 1], [1, 1]], [[2, 2], [2, 1]])
#: What they give by hand. Codebook 0: train 3, 1, 0, 0 with one added to each is 4/8, 2/8, 1/8, 1/8; valid is 1/4, 1/4, 2/4.
#: Codebook 1: train 1, 0, 3 gives 2/7, 1/7, 4/7; valid is 0, 3/4, 1/4.
BY_HAND = [
    CodeBaseline(
        entropy=(0.25 * 2 + 0.25 * 2 + 0.5 * 1) * LN2,
        cross_entropy=(0.25 * 1 + 0.25 * 2 + 0.5 * 3) * LN2,
        accuracy_train=0.25,
        accuracy_heldout=0.5,
    ),
    CodeBaseline(
        entropy=0.75 * math.log(4 / 3) + 0.25 * math.log(4),
        cross_entropy=0.75 * math.log(7) + 0.25 * math.log(7 / 4),
        accuracy_train=0.25,
        accuracy_heldout=0.75,
    ),
]

#: Train's mean is (1, 2), valid's (2, 2); valid's variances are 1 and 4, its mean squares about train's mean 2 and 4.
TRAIN_CQT = ([[0, 2]], [[2, 2], [1, 2]])
VALID_CQT = ([[1, 4]], [[3, 0]])
CQT_BY_HAND = CQTBaseline(mse_train=3.0, mse_heldout=2.5)


def assert_close(ours, theirs):
    assert vars(ours) == pytest.approx(vars(theirs), rel=1e-12)


@pytest.fixture
def stores(corpus):
    """stores(kind) -> train and valid store of the arrays above, written under the names a run looks for."""

    def make(kind, train=None, valid=None, name=None, **changes):
        pairs = {"codes": (TRAIN_CODES, VALID_CODES), "cqt": (TRAIN_CQT, VALID_CQT)}[kind]
        found = []
        for split, arrays in (("train", train or pairs[0]), ("valid", valid or pairs[1])):
            manifest = corpus.manifest([320] * len(arrays), split)
            values = dict(width=2, num_classes=[4, 3] if kind == "codes" else None, **changes)
            folder = corpus.store(manifest, [np.array(rows) for rows in arrays], split, name, kind, num_shards=2, **values)
            found.append(TargetStore(folder, manifest, kind, 75.0))
        return found

    return make


# Baselines.


@pytest.mark.parametrize("block", [1, 2, 1 << 15])
def test_code_baselines_by_hand(stores, monkeypatch, block):
    monkeypatch.setattr(baselines, "BLOCK", block)
    train, valid = stores("codes")
    found = code_baselines([train], [valid])
    assert len(found) == 2
    for ours, by_hand in zip(found, BY_HAND):
        assert_close(ours, by_hand)


def test_stores_lie_side_by_side(stores):
    train, valid = stores("codes")
    other_train, other_valid = stores("codes", ([[3, 0]], [[3, 0]]), ([[3, 0]], [[3, 0]]), name="other")
    found = code_baselines([other_train, train], [other_valid, valid])
    assert len(found) == 4
    # Two frames of one code: the guess by train's frequencies is (2 + 1) / (2 + 4), and (2 + 1) / (2 + 3).
    assert_close(found[0], CodeBaseline(0.0, LN2, 1.0, 1.0))
    assert_close(found[1], CodeBaseline(0.0, math.log(5 / 3), 1.0, 1.0))
    assert_close(found[2], BY_HAND[0])


def test_code_baselines_refuse_a_code_out_of_range(stores):
    train, valid = stores("codes", valid=([[0, 3]], [[1, 1]]))
    with pytest.raises(MertError, match="valid.codes: code 3 of codebook 1, 0..2 allowed"):
        code_baselines([train], [valid])


@pytest.mark.parametrize("block", [1, 1 << 15])
def test_cqt_baseline_by_hand(stores, monkeypatch, block):
    monkeypatch.setattr(baselines, "BLOCK", block)
    assert_close(cqt_baseline(*stores("cqt")), CQT_BY_HAND)


# The log of a run.


def valid_record(update, losses, correct=(0.25, 0.5), cqt=1.5):
    """What fairseq logs at a validation: numbers as strings, names with the split's."""
    record = {"epoch": 1, "valid_loss": "9.9", "valid_loss_codes_m": str(sum(losses)), "valid_num_updates": str(update)}
    for codebook, (loss, share) in enumerate(zip(losses, correct)):
        record |= {f"valid_loss_m_{codebook}": str(loss), f"valid_correct_m_{codebook}": str(share)}
    return record if cqt is None else {**record, "valid_loss_cqt_m": str(cqt)}


def train_record(update, loss):
    return {"epoch": 1, "update": 0.5, "loss": str(loss), "num_updates": str(update), "train_wall": "12"}


def log_line(record, source="train_inner"):
    return f"[2024-05-06 07:08:09,123][{source}][INFO] - {json.dumps(record)}\n"


def write_log(folder, *lines):
    folder.mkdir(exist_ok=True)
    (folder / "hydra_train.log").write_text("".join(line if isinstance(line, str) else log_line(line) for line in lines))
    return folder


def test_a_log_of_text_and_records(tmp_path):
    run = write_log(
        tmp_path / "run",
        "[2024-05-06 07:08:00,000][fairseq_cli.train][INFO] - {'_name': None, 'common': {'seed': 1}}\n",
        "[2024-05-06 07:08:01,000][fairseq_cli.train][INFO] - task: MERTPretrainingTask\n",
        "\n",
        train_record(50, 12.5),
        train_record(100, 11.0),
        valid_record(100, (1.5, 1.25)),
        '[2024-05-06 07:09:00,000][train][INFO] - {"epoch": 1, "train_loss": "11.5", "train_num_updates": "120"}\n',
        train_record(150, 10.0),
        valid_record(200, (1.0, 1.125)),
    )
    log = read_run_log(run)
    assert sorted(log.train) == [50, 100, 150] and sorted(log.valid) == [100, 200]
    assert log.curve("loss", "train") == ([50, 100, 150], [12.5, 11.0, 10.0])
    assert log.curve("loss_m_1") == ([100, 200], [1.25, 1.125])
    assert log.valid[200]["loss_codes_m"] == 2.125 and log.curve("nothing") == ([], [])


def test_a_resumed_run_repeats_updates_and_the_later_record_stands(tmp_path):
    run = write_log(
        tmp_path / "run",
        train_record(50, 12.0),
        train_record(100, 11.0),
        valid_record(100, (2.0, 2.0)),
        valid_record(200, (1.5, 1.5)),
        train_record(50, 12.0),
        train_record(100, 10.5),
        valid_record(100, (1.75, 2.0)),
    )
    log = read_run_log(run)
    assert log.curve("loss", "train") == ([50, 100], [12.0, 10.5])
    assert log.curve("loss_m_0") == ([100, 200], [1.75, 1.5])


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_a_line_that_a_killed_run_broke_is_ignored(tmp_path, keep):
    line = log_line(valid_record(200, (1.0, 1.0)))
    broken = line[: int(len(line) * keep)]
    run = write_log(tmp_path / "run", valid_record(100, (2.0, 2.0)), broken + "\n", train_record(250, 9.0), broken)
    log = read_run_log(run)
    assert sorted(log.valid) == [100] and sorted(log.train) == [250]


def test_bytes_that_are_no_text_and_fields_that_are_no_numbers_are_ignored(tmp_path):
    run = write_log(tmp_path / "run", {**valid_record(100, (2.0, 2.0)), "note": "x", "list": [1], "none": None})
    with open(run / "hydra_train.log", "ab") as log:
        log.write(b"\xff\xfe torn\n" + log_line(valid_record(200, (1.0, 1.0))).encode())
    log = read_run_log(run)
    assert sorted(log.valid) == [100, 200] and not {"note", "list", "none"} & log.valid[100].keys()


def test_logs_that_tell_nothing_are_refused(tmp_path):
    with pytest.raises(MertError, match="hydra_train.log: no such log; give the run folder"):
        read_run_log(tmp_path)
    for lines in ([], ['{"valid_num_updates"']):
        with pytest.raises(MertError, match="hydra_train.log: nothing logged yet"):
            read_run_log(write_log(tmp_path / "run", *lines))


# The run's configuration.


def write_config(run, task, cwd):
    (run / ".hydra").mkdir(parents=True, exist_ok=True)
    (run / ".hydra" / "config.yaml").write_text(json.dumps({"common": {"seed": 1}, "task": task}))
    (run / ".hydra" / "hydra.yaml").write_text(json.dumps({"hydra": {"runtime": {"cwd": str(cwd)}}}))


@pytest.mark.parametrize(
    "task, data, labels",
    [
        ({"data": "m", "label_dir": "l"}, "/home/m", "/home/l"),
        ({"data": "/a/m", "label_dir": "/a/l"}, "/a/m", "/a/l"),
        ({"data": "m"}, "/home/m", "/home/m"),
        ({"data": "/a/m", "label_dir": None}, "/a/m", "/a/m"),
    ],
)
def test_folders_are_found_from_where_the_run_was_started(tmp_path, task, data, labels):
    write_config(tmp_path, task, "/home")
    config = read_run_config(tmp_path)
    assert (config.task.data, config.task.label_dir) == (data, labels)


@pytest.mark.parametrize("name", ["config.yaml", "hydra.yaml"])
def test_a_missing_configuration_is_named(tmp_path, name):
    write_config(tmp_path, {"data": "m"}, "/home")
    (tmp_path / ".hydra" / name).unlink()
    with pytest.raises(MertError, match=f".hydra/{name}: missing; give the run folder of fairseq-hydra-train"):
        read_run_config(tmp_path)


# The report.


@pytest.fixture
def run(corpus, stores, tmp_path):
    """A run folder: four validations, the third the best; its stores hold the arrays above."""
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
