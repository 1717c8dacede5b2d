"""From features to results: validation alone chooses, and the test set is scored once."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_task import ENCODER, QUICK, SMALL, TELLING, hear_data, make_beats, make_data, probed

from mert_fairseq.errors import MertError
from mert_fairseq.probe.beat_examples import BeatData, BeatSettings
from mert_fairseq.probe.features import HeardItems
from mert_fairseq.probe.grid import GridPoint, PointScore, choose, make_grid
from mert_fairseq.probe.items import BeatTimes
from mert_fairseq.probe.probing import GridSettings, data_facts, data_hash, probe_task
from mert_fairseq.probe.results import read_run, read_scored
from mert_fairseq.probe.window_examples import WindowExamples


def test_the_grid_is_the_published_one():
    points = make_grid(12)
    assert len(points) == 14 * 6 and points[0] == GridPoint(None, 5e-5) and points[-1] == GridPoint(12, 1e-2)
    assert [point.layer for point in points[::6]] == [None, *range(13)]
    assert points[0].name == "layer-all_rate-5e-05" and points[-1].name == "layer-12_rate-0.01"
    assert {point.layer for point in make_grid(1)} == {0, 1} and {point.layer for point in make_grid(0)} == {0}  # nothing to sum
    assert make_grid(12, [None, 7], [1e-3]) == [GridPoint(None, 1e-3), GridPoint(7, 1e-3)]
    for layers, rates in (([13], [1e-3]), ([-1], [1e-3]), ([], [1e-3]), ([1], [])):
        with pytest.raises(MertError, match="all, 0 to 12 and one rate at least"):
            make_grid(12, layers, rates)


def point_score(layer, validation):
    return PointScore(layer, 1e-3, validation, "mean", 1, 2, 0.1)


def test_the_best_on_validation_is_chosen():
    assert choose([point_score(0, 0.3), point_score(1, None), point_score(2, 0.7), point_score(3, 0.7)]).layer == 2
    with pytest.raises(MertError, match="no head of 1 stayed finite"):
        choose([point_score(0, None)])


def told_apart(data, heard, split_layers):
    """Features that tell the label at another hidden state in each split."""
    rows = np.random.default_rng(5).standard_normal(heard.rows.shape).astype(np.float32)
    for window, item in enumerate(heard.owner):
        for layer in split_layers[data.items[item].split]:
            rows[window, layer] = heard.rows[window, TELLING]
    return HeardItems(rows, heard.places, heard.owner)


def test_validation_alone_chooses(tmp_path):
    """Both layers are learned; validation tells layer 0 from layer 1, and the test set would say the opposite."""
    data = make_data("classes")
    heard = told_apart(data, hear_data("classes", data), {"train": (0, 1), "valid": (0,), "test": (1,)})
    results = probed(tmp_path, data=data, heard=heard, grid=replace(SMALL, layers=(0, 1)))
    assert results.chosen["layer"] == 0 and results.chosen["validation"] > 0.9
    assert results.scores["accuracy"].mean < 0.6
    assert [(one["layer"], one["validation"] > 0.9) for one in results.grid] == [(0, True)] * 2 + [(1, False)] * 2


def test_the_test_set_is_seen_once_per_seed_by_the_chosen_point_alone(tmp_path, monkeypatch):
    seen = []
    estimate = WindowExamples.estimate
    record = lambda self, head, split, decision: (seen.append((self.layer, split)), estimate(self, head, split, decision))[1]  # noqa: E731
    monkeypatch.setattr(WindowExamples, "estimate", record)
    results = probed(tmp_path)
    assert seen == [(results.chosen["layer"], "test")] * 2
    assert [seed.seed for seed in results.seeds] == [1, 2]
    assert results.scores["accuracy"].mean == pytest.approx(np.mean([seed.scores["accuracy"] for seed in results.seeds]))


def test_results_hold_what_is_needed_to_trust_them(tmp_path):
    results = probed(tmp_path / "run" / "MadeUp", options={"tolerance": 0.07})
    assert results == read_run(tmp_path / "run")["MadeUp"]
    assert results.data["items"] == {"train": 60, "valid": 60, "test": 60} and results.data["hash"] == data_hash(make_data("classes"))
    assert results.settings["head"]["hidden"] == QUICK.hidden and results.settings["options"] == {"tolerance": 0.07}
    assert results.encoder == ENCODER and {"python", "torch", "scikit-learn"} <= set(results.versions)
    assert len(results.grid) == 4 * 2 and results.scores["accuracy"].low <= results.scores["accuracy"].mean
    scored = read_scored(tmp_path / "run" / "MadeUp")
    assert scored.estimates.shape == (2, 60, 3) and scored.items[0] == "item2"
    hits = (scored.estimates.argmax(-1) == scored.reference).mean()
    assert hits == pytest.approx(results.scores["accuracy"].mean)


def test_keys_are_decided_the_way_that_validation_likes_best(tmp_path):
    data = make_data("classes", num_classes=3)
    keys = type(data)(data.items, ("C major", "E major", "A minor"))
    results = probed(tmp_path, metrics=("weighted_score",), data=keys)
    assert results.scores["weighted_score"].mean > 0.9
    assert {one["decision"] for one in results.grid} <= {"mean", "mean_probability", "largest", "majority"}


def test_beats_from_frames_to_results(tmp_path):
    task, data, frames = make_beats()
    beats = BeatData(task, data, frames, BeatSettings(crop_s=4.0, frames_per_crop=200))
    results = probe_task(task, data, beats, ENCODER, tmp_path, GridSettings(layers=(TELLING,), rates=(1e-2,), seeds=(1,)))
    assert results.scores["f_measure"].mean > 0.95 and results.scores["f_measure"].deviation == 0.0
    assert read_scored(tmp_path).estimates.shape == (1, 6, 2)


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_seeds_are_different_ones(tmp_path, seeds):
    with pytest.raises(MertError, match="one or more different ones"):
        probed(tmp_path, grid=GridSettings(seeds=seeds))


def test_files_that_labels_were_read_from_are_known_by_their_hash(tmp_path):
    (tmp_path / "data" / "valid").mkdir(parents=True)
    paths = [tmp_path / "data" / "labels.csv", tmp_path / "data" / "valid" / "labels.csv", tmp_path / "elsewhere.csv"]
    for path in paths:
        path.write_text("abc")
    facts = data_facts(replace(make_data("classes"), annotations=paths, dropped=["song: unreadable"]), tmp_path / "data")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert facts["annotations"] == dict.fromkeys(["labels.csv", "valid/labels.csv", "elsewhere.csv"], digest)
    assert facts["dropped"] == ["song: unreadable"] and facts["items"] == {"train": 60, "valid": 60, "test": 60}


def test_the_hash_of_data_is_of_names_splits_and_labels():
    data = make_data("tags")
    same = make_data("tags")
    assert data_hash(data) == data_hash(same)
    for change in ({"name": "x"}, {"split": "valid"}, {"label": 1 - data.items[0].label}, {"stop_s": 3.0}):
        items = [replace(data.items[0], **change), *data.items[1:]]
        assert data_hash(replace(data, items=items)) != data_hash(data)
    moved = [replace(item, path=item.path.with_name("elsewhere.wav")) for item in data.items]
    assert data_hash(replace(data, items=moved)) == data_hash(data)
    assert data_hash(replace(data, classes=("a", "b", "c"))) != data_hash(data)
    songs = make_beats()[1]
    late = replace(songs.items[0], label=BeatTimes(songs.items[0].label.beats + 0.1, songs.items[0].label.downbeats))
    assert data_hash(replace(songs, items=[late, *songs.items[1:]])) != data_hash(songs)
