"""A writer of shards killed at every step it takes on the disk: all or nothing, and the next run cleans up."""

import hashlib
import os
import signal
import time

import numpy as np
import pytest
from test_labels_interrupted import contents

from mert_fairseq.data.shard import read_info, shard_path, write_shard
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.teachers.labelling import Labeller, write_labels

LENGTHS = (3200, 6400, 960)
STEPS = ("fsync", "replace", "unlink")  # of module os, which paths use as well


def start(act):
    """Runs `act()` in a forked process; returns its number. Nothing of the test goes on there."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return process


def exit_code(process):
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def killed_at(step, path, info, arrays, between=lambda: None):
    """Writes a shard in a process that is killed just before its step number `step`; False if it took fewer steps."""

    def rows():
        yield from arrays
        between()

    def write():
        victim, taken = os.getpid(), iter(range(step))

        def limited(act):
            def taking(*args, **kwargs):
                if os.getpid() == victim and next(taken, None) is None:
                    os.kill(victim, signal.SIGKILL)
                return act(*args, **kwargs)

            return taking

        for name in STEPS:
            setattr(os, name, limited(getattr(os, name)))
        write_shard(path, info, rows())

    code = exit_code(start(write))
    assert code in (0, -signal.SIGKILL)
    return code != 0


def write_in_another_process(path, info, arrays):
    assert exit_code(start(lambda: write_shard(path, info, arrays))) == 0


@pytest.fixture
def shard(corpus):
    """Path, description and arrays of the only shard of a made-up store."""
    manifest = corpus.manifest(LENGTHS, audio=True)
    arrays = [corpus.codes(row, int(length)) for row, length in enumerate(manifest.num_samples)]
    return shard_path(corpus.labels / "train.codes", 0, 1), corpus.info(manifest), arrays, manifest


def is_complete(path, manifest):
    return path.with_suffix(".json").is_file() and TargetStore(path.parent, manifest, "codes", 75.0).num_frames.tolist() == [10, 20, 3]


def test_a_writer_killed_at_any_step_leaves_all_or_nothing(shard):
    path, info, arrays, manifest = shard
    step = 0
    while killed_at(step, path, info, arrays):
        assert is_complete(path, manifest) or not path.with_suffix(".json").exists()
        for left in path.parent.iterdir():
            left.unlink()
        step += 1
    assert step >= 4 and is_complete(path, manifest)


def test_a_writer_killed_over_another_shard_leaves_no_false_description(shard):
    """The shard that was there has other codes of the same shape, so that only its hash could tell."""
    path, info, arrays, _ = shard
    step, others = 0, [array // 2 for array in arrays]
    write_in_another_process(path, info, others)
    while killed_at(step, path, info, arrays):
        if path.with_suffix(".json").exists():
            held = np.ascontiguousarray(np.load(path))
            assert hashlib.sha256(held.data).hexdigest() == read_info(path).data_sha256, f"killed before step {step}"
        write_in_another_process(path, info, others)
        step += 1
    assert step >= 5


def test_a_shard_completed_by_another_is_not_lost_when_its_second_writer_is_killed(shard):
    """The other one has ended and will not come back to it."""
    path, info, arrays, manifest = shard
    step = 0
    while killed_at(step, path, info, arrays, lambda: write_in_another_process(path, info, arrays)):
        assert is_complete(path, manifest), f"killed before step {step}"
        for left in path.parent.iterdir():
            left.unlink()
        step += 1
    assert step >= 2 and is_complete(path, manifest)


def label(corpus, shard):
    """Makes the shard, or finds it complete, as the command does."""
    path, _, _, manifest = shard

    def codes(waves):
        for wave in waves:
            yield corpus.codes(round(float(wave[0]) * 16), len(wave))

    labeller = Labeller("codes", "maker", 2, codes, [1000, 16])
    write_labels(manifest, path.parent, labeller, 1, [0])


def test_what_killed_writers_left_is_cleaned_up_by_the_next_run(corpus, shard):
    """Also beside a shard that is complete."""
    path, info, arrays, manifest = shard
    for _ in range(2):
        assert killed_at(0, path, info, arrays)
        assert [left.suffix for left in path.parent.iterdir() if left.name.startswith(".")] == [".part"]
        label(corpus, shard)
        assert sorted(contents(path.parent)) == [path.with_suffix(".json").name, path.name]
    assert is_complete(path, manifest)


def test_what_a_living_writer_is_at_is_left_alone(corpus, shard):
    path, info, arrays, manifest = shard

    def rows():
        yield from arrays
        (path.parent / "begun").touch()
        deadline = time.monotonic() + 30
        while not (path.parent / "go on").exists() and time.monotonic() < deadline:
            time.sleep(0.01)

    process = start(lambda: write_shard(path, info, rows()))
    while not (path.parent / "begun").exists():
        time.sleep(0.01)
    label(corpus, shard)
    assert len(list(path.parent.glob(".*.part"))) == 1
    (path.parent / "go on").touch()
    assert exit_code(process) == 0
    assert is_complete(path, manifest) and not list(path.parent.glob(".*.part"))
