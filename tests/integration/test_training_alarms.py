"""Two trainings: one that cannot learn is told of once, one that learns is not; and the report has what both logged."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import training_runs as runs

from mert_fairseq.cli.main import main
from mert_fairseq.report.run_log import LOG_NAME, read_run_log
from mert_fairseq.tasks.alarms import LEARNED_NOTHING

#: The end of the warm-up is seen at update 100; two validations behind it.
SETTINGS = ("optimization.max_update=110", "dataset.validate_after_updates=100", "dataset.validate_interval_updates=5")
SETTINGS += ("+task.alarms_from=100", "criterion.cqt_weight=1")  # the codes alone are learned in so few updates


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alarms")
    corpus = runs.build_corpus(folder / "corpus")
    with ThreadPoolExecutor() as pool:
        rates = {"learning": 0.01, "stuck": 0.0}
        started = [pool.submit(runs.train, corpus, folder / name, *SETTINGS, f"optimization.lr=[{lr}]") for name, lr in rates.items()]
        for result in (training.result() for training in started):
            assert result.returncode == 0, result.stderr[-2000:]
    return folder


def test_a_run_that_learns_nothing_is_told_of_once(trained):
    (alarm,) = read_run_log(trained / "stuck").alarms
    assert (alarm.name, alarm.update, alarm.over) == (LEARNED_NOTHING, 105, False) and len(alarm.subjects) == runs.NUM_CODEBOOKS
    text = (trained / "stuck" / LOG_NAME).read_text(encoding="utf-8")
    assert text.count("alarm at update") == 1 and "][WARNING] - alarm at update 105, " in text


def test_a_run_that_learns_is_silent(trained):
    log = read_run_log(trained / "learning")
    assert log.alarms == [] and "alarm at update" not in (trained / "learning" / LOG_NAME).read_text(encoding="utf-8")
    record = log.valid[110]
    assert all(record[f"correct_m_{codebook}"] > record[f"most_frequent_m_{codebook}"] for codebook in range(runs.NUM_CODEBOOKS))
    assert 2 < record["perplexity_m_0"] <= 1.5 * record["target_perplexity_m_0"] and log.versions["device"] == "cpu"


def test_the_report_has_both(trained, capsys):
    assert main(["report", str(trained / "stuck")]) == 0
    page = (trained / "stuck" / "report.html").read_text(encoding="utf-8")
    assert "Update 105: accuracy below most frequent code" in page and "Still on." in page and "Not shown" not in page
    assert main(["report", str(trained / "learning"), str(trained / "stuck"), "--page", str(trained / "both.html")]) == 0
    table = capsys.readouterr().out
    assert ["alarms", "raised", "0", "1"] in [row.split() for row in table.splitlines()]
    assert "optimization.lr" in (trained / "both.html").read_text(encoding="utf-8")
