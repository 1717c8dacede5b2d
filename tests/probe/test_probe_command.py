"""`mert probe` on miniatures of all datasets: check, features, heads, scores and the table, as a user gives the commands."""

import functools
import json
from dataclasses import replace

import pytest
from miniatures import build

from mert_fairseq.cli.main import main
from mert_fairseq.data.audio import audio_info
from mert_fairseq.data.manifest import write_manifest
from mert_fairseq.probe import run
from mert_fairseq.probe.metrics import in_points
from mert_fairseq.probe.registry import TASKS
from mert_fairseq.probe.results import read_results, read_scored
from mert_fairseq.probe.separation.settings import SeparationSettings

QUICK = ["--layers", "0", "--rates", "0.001", "--seeds", "1", "--any-counts"]


@pytest.fixture(autouse=True)
def quick_separation(monkeypatch):
    small = functools.partial(SeparationSettings, epochs=1, samples_per_track=1, batch=2, hidden=8, lstm_layers=1, chunk_s=1.0)
    monkeypatch.setattr(run, "SeparationSettings", small)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_goes_from_its_files_to_the_table(name, tmp_path, capsys):
    data = str(build(name, tmp_path))
    assert main(["probe", "check", name, "--data", data, "--any-counts"]) == 0
    command = ["probe", name, "--model", "logmel", "--data", data, "--out", str(tmp_path / "out"), *QUICK]
    assert main([*command, "--cache", str(tmp_path / "cache")]) == 0
    results = read_results(tmp_path / "out" / name)
    assert set(results.scores) == set(TASKS[name].metrics) and results.encoder["name"] == "logmel"
    made = (tmp_path / "out" / name / "results.json").stat().st_mtime_ns
    assert main([*command, "--cache", str(tmp_path / "cache")]) == 0  # there already
    assert (tmp_path / "out" / name / "results.json").stat().st_mtime_ns == made
    capsys.readouterr()
    assert main(["probe", "table", str(tmp_path / "out")]) == 0
    rows = " ".join(line for line in capsys.readouterr().out.splitlines() if line.startswith("| out "))
    points = [f"{in_points(metric, score.mean):.1f}" for metric, score in results.scores.items()]
    assert all(point in rows for point in points), (rows, points)


def test_time_and_room_for_beats_are_told_before_they_are_taken(tmp_path, capsys):
    data = str(build("GTZANBT", tmp_path))
    command = ["probe", "GTZANBT", "--model", "logmel", "--data", data, "--cache", str(tmp_path / "cache"), *QUICK]
    for out, told in (("one", 1), ("two", 0)):  # the second finds them in the cache
        assert main([*command, "--out", str(tmp_path / out)]) == 0
        assert capsys.readouterr().err.count("GTZANBT: 13 recordings to hear, about 0 s, 0.00 GB in") == told


def test_list_tells_of_every_task(capsys):
    assert main(["probe", "--list"]) == 0
    listed = capsys.readouterr().out
    for name, task in TASKS.items():
        assert f"{name}: {task.title}" in listed
    for rule in ("Mediaeval 2013 set", "MANUAL KEY", "_s.txt say", "_t.txt say"):
        assert rule in listed
    assert listed.count("licence") >= 14 and listed.count("layout") >= 14


def test_all_leaves_out_what_is_not_there_and_says_so(tmp_path, capsys):
    build("GTZAN", tmp_path / "data")
    command = ["probe", "GTZAN", "EMO", "--model", "logmel", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), *QUICK]
    assert main([*command, "--cache", str(tmp_path / "cache")]) == 1
    out, err = capsys.readouterr()
    assert "GTZAN: accuracy" in out and "1 of 2 tasks" in out and "mert: EMO left out: " in err


def test_faults_of_the_command_are_one_line(tmp_path, capsys):
    def said(*words: str) -> str:
        assert main(["probe", *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    data = ["--data", str(tmp_path)]
    assert "task 'GTZEN': one of MTT" in said("GTZEN", "--model", "logmel", *data)
    assert "no model given" in said("GTZAN", *data)
    assert "no data given" in said("GTZAN", "--model", "logmel")
    assert "no tasks given" in said("--model", "logmel", *data)
    assert "--option colour=red: no task given has colour" in said("GTZAN", "--model", "logmel", *data, "--option", "colour=red")
    assert "--layers x: a number, or all" in said("GTZAN", "--model", "logmel", *data, "--layers", "x")
    assert "no such file or folder" in said("GTZAN", "--model", "nowhere.pt", *data)


def test_wrong_counts_are_refused_before_anything_is_heard(tmp_path, capsys):
    build("GTZAN", tmp_path / "data")
    command = ["probe", "GTZAN", "--model", "logmel", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    assert main([*command, "--cache", str(tmp_path / "cache")]) == 1
    assert "are published" in capsys.readouterr().err
    assert not (tmp_path / "cache").exists() and not (tmp_path / "out").exists()


def test_two_tasks_of_one_dataset_share_what_was_heard(tmp_path):
    data = str(build("NSynthI", tmp_path))
    command = ["--model", "logmel", "--data", data, "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    for name in ("NSynthI", "NSynthP"):
        assert main(["probe", name, *command, *QUICK]) == 0
    (rows,) = (tmp_path / "cache").rglob("index.tsv")
    facts = json.loads((tmp_path / "out" / "NSynthI" / "results.json").read_text())["data"]
    assert len(rows.read_text().splitlines()) == sum(facts["items"].values())
    found = read_results(tmp_path / "out" / "NSynthI")
    assert found.made["date"].endswith("+00:00") and found.made["command"] and "soundfile" in found.versions
    assert (found.encoder["device"], found.encoder["dtype"]) in (("cpu", "float32"), ("cuda", "float32"))
    assert list(facts["annotations"]) == [f"nsynth-{split}/examples.json" for split in ("train", "valid", "test")]


def test_scores_of_something_else_are_not_given_for_this(tmp_path, capsys):
    data = str(build("GTZAN", tmp_path))
    command = ["probe", "GTZAN", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert main([*command, "--model", "logmel", "--data", data, *QUICK]) == 0
    for change, what in (
        (["--model", "random:mert_tiny", "--data", data, *QUICK], "encoder"),
        (["--model", "logmel", "--data", data, *QUICK, "--rates", "0.01"], "rates"),
        (["--model", "logmel", "--data", data, *QUICK, "--seeds", "7"], "seeds"),
    ):
        assert main([*command, *change]) == 1
        assert f"holds scores of other {what}" in capsys.readouterr().err
    assert main([*command, "--model", "logmel", "--data", "/nowhere", *QUICK]) == 1
    assert "/nowhere: no such folder" in capsys.readouterr().err


def test_overlap_with_the_training_data_is_said(tmp_path, capsys):
    data = build("GTZAN", tmp_path)
    (test_item, *_) = TASKS["GTZAN"].load(data).of("test")
    write_manifest(tmp_path / "train.tsv", test_item.path.parent, [(test_item.path.name, audio_info(test_item.path).num_samples)])
    command = ["probe", "GTZAN", "--model", "random:mert_tiny", "--data", str(data), "--out", str(tmp_path / "out"), *QUICK]
    command += ["--cache", str(tmp_path / "cache")]
    assert main(command) == 0
    before = read_results(tmp_path / "out" / "GTZAN")
    assert before.overlap is None
    assert main([*command, "--pretrained-on", str(tmp_path / "train.tsv")]) == 0  # of scores that are there already
    assert "warning: GTZAN: 1 of 4 test items are in the training data" in capsys.readouterr().err
    after = read_results(tmp_path / "out" / "GTZAN")
    assert after.overlap["items"] == [test_item.name] and (after.overlap["test_items"], after.overlap["training_files"]) == (4, 1)
    assert after == replace(before, overlap=after.overlap)
    assert main(command) == 0
    assert read_results(tmp_path / "out" / "GTZAN") == after  # what was looked for once is not forgotten


def test_no_overlap_is_kept_as_well(tmp_path, capsys):
    data = build("GTZAN", tmp_path)
    (item, *_) = TASKS["GTZAN"].load(data).of("train")
    write_manifest(tmp_path / "train.tsv", item.path.parent, [(item.path.name, audio_info(item.path).num_samples)])
    command = ["probe", "GTZAN", "--model", "logmel", "--data", str(data), "--out", str(tmp_path / "out"), *QUICK]
    assert main([*command, "--cache", str(tmp_path / "cache"), "--pretrained-on", str(tmp_path / "train.tsv")]) == 0
    overlap = read_results(tmp_path / "out" / "GTZAN").overlap
    assert (overlap["items"], overlap["test_items"], overlap["unreadable"]) == ([], 4, 0)
    assert "are in the training data" not in capsys.readouterr().err


def test_scores_of_other_counts_say_so_and_are_given_only_where_these_are_allowed(tmp_path, capsys):
    data = str(build("GTZAN", tmp_path))
    command = ["probe", "GTZAN", "--model", "logmel", "--data", data, "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert main([*command, *QUICK]) == 0
    assert read_results(tmp_path / "out" / "GTZAN").settings["any_counts"] is True
    assert main(["probe", "table", str(tmp_path / "out"), "--own"]) == 0
    assert "GTZAN: --any-counts: 5, 4, 4 items of train, valid and test, 442, 197, 290 are published" in capsys.readouterr().out
    assert main([*command, *QUICK[:-1]]) == 1
    assert "5 items, 442 are published" in capsys.readouterr().err


def test_readings_of_beats_and_separation_can_be_asked_for(tmp_path, monkeypatch):
    beats, seen = run.BeatSettings, []
    monkeypatch.setattr(run, "BeatSettings", lambda **settings: seen.append(settings) or beats(**settings))
    command = ["--model", "logmel", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache"), *QUICK]
    data = str(build("GTZANBT", tmp_path))
    assert main(["probe", "GTZANBT", *command, "--data", data, "--option", "targets=soft", "--option", "tolerance_s=0.02"]) == 0
    assert read_results(tmp_path / "out" / "GTZANBT").settings["options"] == {"tolerance_s": 0.02, "targets": "soft"}
    assert (seen[0]["tolerance_s"], seen[0]["targets"]) == (0.02, "soft")
    data = str(build("MUSDB18", tmp_path))
    options = {"bidirectional": True, "stored_mixes": True, "wiener": "none", "score_rate": 44_100}
    given = [word for name, value in options.items() for word in ("--option", f"{name}={value}")]
    assert main(["probe", "MUSDB18", *command, "--data", data, *given]) == 0
    settings, work = read_results(tmp_path / "out" / "MUSDB18").settings, tmp_path / "out" / "MUSDB18" / "work"
    assert settings["options"] == options and settings["separation"]["bidirectional"] and settings["separation"]["stored_mixes"]
    assert (work / "scores_none_44100.json").is_file() and (work / "features" / "mixes.npy").is_file()


def test_chunks_of_one_recording_are_kept_as_such(tmp_path):
    data = str(build("VocalSetT", tmp_path))
    command = ["probe", "VocalSetT", "--model", "logmel", "--data", data, "--out", str(tmp_path / "out"), *QUICK]
    assert main([*command, "--cache", str(tmp_path / "cache")]) == 0
    scored = read_scored(tmp_path / "out" / "VocalSetT")
    assert scored.recordings == tuple(item.rsplit("_", 1)[0] for item in scored.items)
    assert len(set(scored.recordings)) < len(scored.items)


def test_separation_takes_the_first_seed_by_default(tmp_path, capsys):
    data = str(build("MUSDB18", tmp_path))
    command = ["probe", "MUSDB18", "--model", "logmel", "--data", data, "--out", str(tmp_path / "out"), "--any-counts"]
    assert main([*command, "--cache", str(tmp_path / "cache")]) == 0
    assert "seed 1, the sum of all layers" in capsys.readouterr().err
