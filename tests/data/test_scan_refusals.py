"""`mert manifest`: what it refuses, and the command's words."""

import argparse
import os

import pytest
from scanned_music import contents, reasons, run, tone, write

from mert_fairseq.cli import manifest as command
from mert_fairseq.data.scan import split_share
from mert_fairseq.errors import MertError


def test_folders_without_use_are_refused(music, tmp_path):
    with pytest.raises(MertError, match="no such folder"):
        run(tmp_path / "none")
    (tmp_path / "bare").mkdir()
    with pytest.raises(MertError, match="no audio file; expected names that end in .wav .flac .ogg .mp3"):
        run(tmp_path / "bare")
    write(tmp_path / "bare/a.wav", tone(1, peak=0))
    write(tmp_path / "bare/b.wav", tone(0.1))
    with pytest.raises(MertError, match=r"none of 2 audio files can be used \(silent 1, too_short 1\); .*report.tsv says why"):
        run(tmp_path / "bare", "bare_out")
    assert set(reasons(tmp_path / "bare_out")) == {"a.wav", "b.wav"}
    assert not (tmp_path / "bare_out/train.tsv").exists()


def test_an_empty_split_is_refused_with_a_percentage_that_works(music, tmp_path):
    shares = sorted(split_share(name) for name in both_names(music))
    for percent, split in ((shares[0] / 2, "valid"), ((shares[-1] + 100) / 2, "train")):
        with pytest.raises(MertError, match=f"leaves {split} empty; give at") as caught:
            run(music, valid_percent=percent)
        report = run(music, valid_percent=float(str(caught.value).split()[-1]))
        assert report.rows[split] == 1


def both_names(music):
    return [str(path.relative_to(music)) for path in music.rglob("*.*") if path.suffix != ".txt"]


def test_one_file_cannot_be_split(tmp_path):
    write(tmp_path / "one/a.wav", tone(1))
    with pytest.raises(MertError, match="only 1 file can be used"):
        run(tmp_path / "one")


def test_a_refusal_leaves_the_manifests_of_the_earlier_run(music, tmp_path):
    run(music)
    before = contents(tmp_path / "out")
    with pytest.raises(MertError):
        run(music, valid_percent=1e-9)
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    "setting, value",
    [("valid_percent", 0), ("valid_percent", 100), ("valid_percent", float("nan"))]
    + [("min_seconds", 0), ("min_seconds", float("nan")), ("workers", 0)],
)
def test_settings_out_of_range_are_refused(music, setting, value):
    with pytest.raises(MertError, match=f"--{setting.replace('_', '-')} .*: allowed is"):
        run(music, **{setting: value})


def command_line(*words):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["manifest", *map(str, words)])
    return args.run(args)


def test_command_prints_a_summary(music, tmp_path, capsys):
    write(music / "silent.wav", tone(4, peak=0))
    write(music / "loud.wav", tone(4, peak=1.2), subtype="FLOAT")
    words = ("--valid-percent", 40, "--min-seconds", 0.5, "--workers", 1, "--convert", tmp_path / "copies")
    assert command_line(music, tmp_path / "out", *words) == 0
    printed, errors = capsys.readouterr()
    assert "14 files found" in printed and "1 rejected" in printed and "rejected: silent 1" in printed
    assert "copies clipped at full scale, kept: 1" in printed and "report.tsv has a line on each" in printed
    assert errors == ""  # no progress bar off a terminal


def test_command_defaults_are_five_per_cent_and_three_seconds(music, tmp_path):
    with pytest.raises(MertError, match=r"none of 12 audio files can be used \(too_short 12\)"):
        command_line(music, tmp_path / "out")


def test_command_wrong_usage_is_argparses(music, capsys):
    for words in ([], [music], [music, "out", "--workers", "many"]):
        with pytest.raises(SystemExit) as caught:
            command_line(*words)
        assert caught.value.code == 2


def test_an_output_folder_that_is_a_file_is_refused(music, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MertError, match="OUT_DIR must be a folder"):
        command_line(music, tmp_path / "file", "--valid-percent", 40, "--min-seconds", 0.5, "--workers", 1)


def test_a_worker_that_dies_is_named_and_does_not_hang(music, monkeypatch):
    """As where libsndfile crashes on a damaged file, or memory runs out."""
    monkeypatch.setattr("mert_fairseq.data.check_pool.check_file", _die)
    with pytest.raises(MertError, match="a worker process died at or soon after .*00.wav; move that file away"):
        run(music, workers=2)


def _die(relative_path, settings):
    os._exit(1)
