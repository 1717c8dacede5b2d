"""The log beyond its numbers: alarms, versions, how far a run is; and the run as the report sees it."""

from datetime import datetime

import pytest
from run_folders import LOG, line, train_record, valid_record

from mert_fairseq.errors import MertError
from mert_fairseq.report.run import read_run
from mert_fairseq.report.run_log import read_run_log
from mert_fairseq.tasks.alarm_line import Alarm
from mert_fairseq.tasks.versions import read_versions, versions_line

ALARM = Alarm(20, "collapsed_predictions", ("codebook 1",), "perplexity 1.00; lower optimization.lr")
DONE = line("done training in 12.5 seconds", "fairseq_cli.train")


def read(tmp_path, *lines):
    (tmp_path / "hydra_train.log").write_text("".join(lines))
    return read_run_log(tmp_path)


def test_alarms_in_order_and_once(tmp_path):
    """A killed run repeats updates, and with them what it said."""
    over = Alarm(40, ALARM.name, ALARM.subjects, over=True)
    later, repeated = line(over.line(), "mert_fairseq"), line(ALARM.line(), "mert_fairseq")
    log = read(tmp_path, *LOG, repeated, later, repeated)
    assert log.alarms == [ALARM, over]


def test_versions_are_those_of_the_last_start(tmp_path):
    log = read(tmp_path, *LOG, line('versions {"torch": "2.12.0"}'), line(train_record(50)))
    assert log.versions == {"torch": "2.12.0"}
    assert read(tmp_path, line(train_record(50))).versions == {}


def test_versions_of_this_process_are_read_back():
    import torch

    found = read_versions(f"[time][task][INFO] - {versions_line(torch.device('cpu'))}\n")
    assert found["torch"] == torch.__version__ and found["device"] == "cpu" and {"python", "fairseq", "mert_fairseq"} <= found.keys()
    assert read_versions("versions {") is None and read_versions("no versions") is None


def test_how_far_it_is(tmp_path):
    log = read(tmp_path, *LOG)
    assert not log.done and log.last_update == 40 and log.num_codebooks == 2
    assert log.last_time == datetime(2024, 5, 6, 7, 8, 0)
    assert read(tmp_path, *LOG, DONE).done
    assert not read(tmp_path, *LOG, DONE, line(train_record(50))).done  # started again
    assert log.latest("mfu") == 0.75 and log.latest("perplexity_m_0", "valid") == 3 and log.latest("nothing") is None


def test_a_log_without_validation_is_read_and_one_without_anything_refused(tmp_path):
    log = read(tmp_path, line(train_record(10)))
    assert sorted(log.train) == [10] and log.valid == {}
    with pytest.raises(MertError, match="hydra_train.log: nothing logged yet; let the run reach common.log_interval"):
        read(tmp_path, line("no numbers"))


@pytest.mark.parametrize("lines, most, state", [(LOG, 40, "finished"), ([*LOG, DONE], 90, "ended"), (LOG, 90, "running, or broken off")])
def test_the_state_of_a_run(runs, lines, most, state):
    assert read_run(runs.make(log=lines, optimization__max_update=most)).state == state


def test_a_run_with_baselines_and_one_without(runs):
    run = read_run(runs.make())
    assert run.without == "" and run.learning.best_update == 40
    assert run.most_frequent(1) == 0.5  # as validation counted it
    older = [line(valid_record(40, most_frequent_m_1=None), "valid")]
    assert read_run(runs.make("older", log=older)).most_frequent(1) == run.learning.codes[1].accuracy_heldout
    assert run.setting("criterion.cqt_weight") == 60.0 and run.setting("criterion.nothing", 3) == 3
    assert run.overrides == ["model.dropout=0.1"]
    moved = read_run(runs.make("moved", task__label_dir="/nowhere/labels"))
    assert moved.learning is None and "/nowhere/labels/train.codes: no such folder of targets" in moved.without
    assert moved.most_frequent(1) == 0.5
    young = read_run(runs.make("young", log=LOG[:3]))
    assert young.learning is None and "no validation logged yet" in young.without
