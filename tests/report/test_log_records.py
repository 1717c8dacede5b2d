"""The log and the configuration of a run, as runs leave them."""

import pytest
from logs_of_runs import log_line, train_record, valid_record, write_config, write_log

from mert_fairseq.errors import MertError
from mert_fairseq.report.run_log import read_run_config, read_run_log


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


def test_a_number_that_no_float_holds_is_passed_over(tmp_path):
    """As what is no number is: a whole number of 400 digits."""
    log = read_run_log(write_log(tmp_path / "run", {**train_record(100, 2.0), "gnorm": 10**400}, train_record(200, 1.0)))
    assert log.curve("loss", "train") == ([100, 200], [2.0, 1.0]) and log.curve("gnorm", "train") == ([], [])


def test_logs_that_tell_nothing_are_refused(tmp_path):
    with pytest.raises(MertError, match="hydra_train.log: no such log; give the run folder"):
        read_run_log(tmp_path)
    for lines in ([], ['{"valid_num_updates"']):
        with pytest.raises(MertError, match="hydra_train.log: nothing logged yet"):
            read_run_log(write_log(tmp_path / "run", *lines))


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


@pytest.mark.parametrize("task", [{"data": "m", "labels": None}, {"data": None}, {"data": "m", "labels": "???"}])
def test_a_configuration_without_its_data_or_labels_is_refused(tmp_path, task):
    """A file that was cut may still be YAML."""
    write_config(tmp_path, task, "/home")
    with pytest.raises(MertError, match="not the configuration of a training run .*; give the run folder as it was written"):
        read_run_config(tmp_path)


@pytest.mark.parametrize("labels", [None, "encodec", {"encodec": 1}, [], [1, None], ["encodec", ""], [["encodec"]], 3, True])
def test_labels_that_are_no_list_of_names_are_refused(tmp_path, labels):
    """A text would be a list of letters."""
    write_config(tmp_path, {"data": "m", "labels": labels}, "/home")
    with pytest.raises(MertError, match=r"training run .task.labels .*: a list of names wanted, e.g. \[encodec\].; give the run folder"):
        read_run_config(tmp_path)


@pytest.mark.parametrize("name", ["config.yaml", "hydra.yaml"])
def test_a_missing_configuration_is_named(tmp_path, name):
    write_config(tmp_path, {"data": "m"}, "/home")
    (tmp_path / ".hydra" / name).unlink()
    with pytest.raises(MertError, match=f".hydra/{name}: missing; give the run folder of fairseq-hydra-train"):
        read_run_config(tmp_path)
