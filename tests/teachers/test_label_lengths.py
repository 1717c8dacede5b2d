"""Labels of other programs against the length of their audio, at any label rate."""

import numpy as np
import pytest
from imported_labels import assert_holds, do_import, refusal, write_columns, write_text

from mert_fairseq.data.shard import read_info, shard_path
from mert_fairseq.data.target_store import TargetStore
from mert_fairseq.frames import frame_span
from mert_fairseq.teachers.label_files import LabelFiles


@pytest.mark.parametrize(
    "num_samples, rate, span",
    [(3200, 75.0, (10, 10)), (3201, 75.0, (10, 11)), (319, 75.0, (0, 1)), (24_000, 50.0, (50, 50)), (24_001, 12.5, (12, 13))],
)
def test_frames_of_audio(num_samples, rate, span):
    assert frame_span(num_samples, rate) == span
    assert [int(values[0]) for values in frame_span(np.array([num_samples]), rate)] == list(span)


@pytest.mark.parametrize("frames, held, short", [(20, 20, 0), (21, 21, 0), (22, 22, 0), (19, 20, 1)])
def test_lengths_that_cover_the_audio(corpus, manifest, source, columns, frames, held, short):
    """6401 samples are 20 whole frames and touch 21; one frame less is filled up with the last, as training wants 20."""
    columns[1] = np.arange(2 * frames).reshape(frames, 2)
    write_columns(source, columns)
    folder, done = do_import(corpus, manifest, LabelFiles(source, "train", ["e_0", "e_1"], manifest), 3)
    columns[1] = columns[1][np.minimum(np.arange(held), frames - 1)]
    assert_holds(folder, manifest, columns)
    assert done.num_short == short
    notes = [read_info(shard_path(folder, shard, 3)).notes for shard in range(3)]
    assert notes == [{"rows_one_frame_short": 1} if short else {}, {}, {}]


@pytest.mark.parametrize("frames", [18, 23])
def test_lengths_that_do_not_are_refused(corpus, manifest, source, columns, frames):
    columns[1] = np.zeros((frames, 2), int)
    write_columns(source, columns)
    said = refusal(do_import, corpus, manifest, LabelFiles(source, "train", ["e_0", "e_1"], manifest))
    needed = "its 6401 samples need 20 to 22 at 75 Hz; check --label-rate"
    assert said.startswith(f"{source}/train.e_0: line 2: row 1 (train1.wav) has {frames} frames, {needed}")
    assert not any((corpus.labels / "train.it").iterdir())


def test_another_rate_is_kept_as_the_stores_frame_rate(corpus, source):
    manifest = corpus.manifest((24_000, 48_000))
    write_text(source / "train.km", [[1] * 50, [2] * 100])
    folder, _ = do_import(corpus, manifest, LabelFiles(source, "train", ["km"], manifest), label_rate=50.0)
    assert TargetStore(folder, manifest, "codes", 50.0).num_frames.tolist() == [50, 100]
    assert "50.0 frames per second, the task's label_rate is 75.0" in refusal(TargetStore, folder, manifest, "codes", 75.0)
