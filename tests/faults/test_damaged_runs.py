"""Run folders, damaged: the report is of what can be read, or one line says that nothing can."""

import numpy as np
from damaged_content import damages, inject
from outcomes import mert
from run_folders import LOG, RunFolders

from mert_fairseq.report.run import read_run


def test_the_log_of_a_run(corpus, faults):
    """The report is of what can be read, or one line says that nothing can."""
    runs = RunFolders(corpus)
    runs.targets()
    run = runs.make("run", LOG)

    def read():
        found = read_run(run)
        return found.settings, found.overrides, found.state

    for name in ("hydra_train.log", ".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"):
        inject(faults, f"run folder, {name.rpartition('/')[2]}", run / name, read, None, (5, 100))


def test_the_report_of_a_damaged_run(corpus, faults):
    """The whole command, page and pictures."""
    runs = RunFolders(corpus)
    runs.targets()
    text = "".join(LOG).encode()
    rng = np.random.default_rng(0)
    run = runs.make("run", LOG)
    runs.save_checkpoint(run)
    for name in ("hydra_train.log", "checkpoints/checkpoint_last.pt"):
        text = (run / name).read_bytes()
        for kind, content in list(damages(text, faults, rng, (5, 8), (5, 5)))[:: faults.times(7, 2)]:
            (run / name).write_bytes(content)
            shown = mert("report", run)
            faults.record(f"`mert report`, {name.rpartition('/')[2]}: {kind}", shown.outcome, shown.text)
        (run / name).write_bytes(text)
