"""`mert manifest`: which files get into the manifests, which do not and why, and what a rerun gives."""

import argparse
import hashlib
import os

import numpy as np
import pytest
import soundfile

from mert_fairseq.cli import manifest as command
from mert_fairseq.data.audio import read_audio
from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.scan import scan, split_share
from mert_fairseq.errors import MertError


def tone(seconds, rate=24_000, peak=0.5, channels=1):
    wave = peak * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
    return np.repeat(wave[:, None], channels, axis=1)


def write(path, wave, rate=24_000, **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **how)
    return path


@pytest.fixture
def music(tmp_path):
    """Twelve good files of 1 s in nested folders, of every suffix."""
    for number in range(12):
        name = f"album {number % 3}/{number:02d}.{('wav', 'flac', 'ogg', 'mp3')[number % 4]}"
        write(tmp_path / "music" / name, tone(1 + number / 100))
    (tmp_path / "music" / "cover.txt").write_text("no audio")
    return tmp_path / "music"


def run(music, out="out", **settings):
    return scan(music, music.parent / out, **{"valid_percent": 40, "min_seconds": 0.5, "workers": 1, **settings})


def rows(out, split):
    manifest = read_manifest(out / f"{split}.tsv")
    return {manifest.relative_path(row): int(manifest.num_samples[row]) for row in range(len(manifest))}


def both(out):
    return {**rows(out, "train"), **rows(out, "valid")}


def reasons(out):
    lines = (out / "report.tsv").read_text().splitlines()
    assert lines[0] == "path\treason\tdetail"
    return {path: reason for path, reason, _ in (line.split("\t") for line in lines[1:])}


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_good_file_is_in_one_split(music, tmp_path):
    report = run(music)
    found = both(tmp_path / "out")
    assert found == {f"album {n % 3}/{n:02d}.{('wav', 'flac', 'ogg', 'mp3')[n % 4]}": 24_000 + 240 * n for n in range(12)}
    assert report.num_files == 12 and report.rejected == {} and report.clipped == 0 and report.root == music
    assert report.rows["train"] + report.rows["valid"] == 12 and min(report.rows.values()) > 0
    assert sum(report.hours.values()) == pytest.approx(sum(found.values()) / 24_000 / 3600)
    assert read_manifest(tmp_path / "out" / "train.tsv").root == music
    assert list(rows(tmp_path / "out", "train")) == sorted(rows(tmp_path / "out", "train"))
    assert reasons(tmp_path / "out") == {}


def test_split_follows_the_name_alone(music, tmp_path):
    run(music)
    before = {split: rows(tmp_path / "out", split) for split in ("train", "valid")}
    for number in range(20, 30):
        write(music / f"new/{number}.WAV", tone(1))
    run(music, workers=2)
    for split, old in before.items():
        assert old.items() <= rows(tmp_path / "out", split).items()
    assert len(both(tmp_path / "out")) == 22
    assert all((split_share(name) < 40) == (name in rows(tmp_path / "out", "valid")) for name in both(tmp_path / "out"))


def test_split_share_is_a_fixed_function():
    """The first eight bytes of the name's sha256, as a fraction of 100."""
    share = int(hashlib.sha256(b"a.wav").hexdigest()[:16], 16) / 2**64 * 100
    assert split_share("a.wav") == pytest.approx(share)
    assert np.mean([split_share(f"{n}.wav") < 5 for n in range(4000)]) == pytest.approx(0.05, abs=0.015)


def test_rerun_gives_identical_files_however_many_workers(music, tmp_path):
    write(music / "silent.wav", tone(1, peak=0))
    for workers, quick in ((1, False), (3, False), (1, True)):
        run(music, f"out{workers}{quick}", workers=workers, quick=quick)
    assert contents(tmp_path / "out1False") == contents(tmp_path / "out3False") == contents(tmp_path / "out1True")
    run(music, "out1False")
    assert contents(tmp_path / "out1False") == contents(tmp_path / "out3False")


def make_rejects(music):
    """One file for each reason; returns the reasons expected."""
    nan = tone(1)
    nan[5000] = np.nan
    write(music / "r/nan.wav", nan, subtype="FLOAT")
    write(music / "r/short.wav", tone(0.4999))
    write(music / "r/none.wav", tone(0))
    write(music / "r/silent.flac", tone(1, peak=1e-4))
    inaudible = 0.01 * np.hanning(96_000) * (-1.0) ** np.arange(96_000)  # 48 kHz: gone at 24,000 samples per second
    write(music / "r/inaudible.wav", inaudible, 96_000, subtype="FLOAT")
    write(music / "r/tab\there.wav", tone(1))
    write(music / "r/line\nbreak.wav", tone(1))
    noise = 0.1 * np.random.default_rng(0).standard_normal((24_000 * 4, 1))
    for suffix in ("wav", "flac", "ogg", "mp3"):
        cut = write(music / f"r/cut.{suffix}", noise)
        cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (music / "r/text.mp3").write_text("not audio" * 100)
    (music / "r/empty.wav").touch()
    write(music / "r/odd.wav", tone(1, 44_101), 44_101)
    outside = write(music.parent / "elsewhere/x.wav", tone(1))
    (music / "r/link.wav").symlink_to(outside)
    (music / "r/dangling.wav").symlink_to(music / "nothing.wav")
    (music / "r/folder").symlink_to(outside.parent)
    return {
        "r/nan.wav": "non_finite",
        "r/short.wav": "too_short",
        "r/none.wav": "too_short",
        "r/silent.flac": "silent",
        "r/inaudible.wav": "silent",
        "r/tab\\there.wav": "bad_name",
        "r/line\\nbreak.wav": "bad_name",
        "r/cut.wav": "truncated",
        "r/cut.ogg": "truncated",
        "r/cut.mp3": "truncated",
        "r/cut.flac": "unreadable",
        "r/text.mp3": "unreadable",
        "r/empty.wav": "unreadable",
        "r/odd.wav": "unsupported_rate",
        "r/link.wav": "outside_link",
        "r/dangling.wav": "unreadable",
        "r/folder": "linked_folder",
    }


@pytest.mark.parametrize("convert", [False, True])
def test_what_cannot_be_used_is_reported_with_its_reason(music, tmp_path, convert):
    expected = make_rejects(music)
    report = run(music, convert=tmp_path / "copies" if convert else None)
    assert reasons(tmp_path / "out") == expected
    assert report.rejected == {reason: list(expected.values()).count(reason) for reason in expected.values()}
    assert report.num_files == 12 + len(expected) and len(both(tmp_path / "out")) == 12
    if convert:
        assert len(list((tmp_path / "copies").rglob("*"))) == 12 + 3  # three folders, nothing left half written


def test_link_inside_the_folder_is_followed(music, tmp_path):
    (music / "again.wav").symlink_to(music / "album 0" / "00.wav")
    run(music)
    assert both(tmp_path / "out")["again.wav"] == 24_000


def test_quick_reads_no_further_than_the_first_sound(music, tmp_path):
    wave = tone(60)
    wave[-100] = np.nan
    write(music / "late.wav", wave, subtype="FLOAT")
    assert run(music, quick=True).rejected == {}
    assert run(music).rejected == {"non_finite": 1}


def test_silence_at_the_start_only_is_music(music, tmp_path):
    write(music / "intro.wav", np.concatenate([tone(30, peak=0), tone(1)]))
    assert run(music, quick=True).rejected == run(music).rejected == {}


def test_convert_mirrors_the_tree_without_collisions(music, tmp_path):
    write(music / "same.wav", tone(1, 44_100, channels=2), 44_100)
    write(music / "same.flac", tone(2))
    report = run(music, convert=tmp_path / "copies")
    found = both(tmp_path / "out")
    assert report.root == tmp_path / "copies" == read_manifest(tmp_path / "out" / "valid.tsv").root
    assert (found["same.wav.flac"], found["same.flac.flac"]) == (24_000, 48_000)
    for name, num_samples in found.items():
        info = soundfile.info(tmp_path / "copies" / name)
        assert (info.samplerate, info.channels, info.subtype, info.frames) == (24_000, 1, "PCM_16", num_samples)
        original = read_audio(music / name.removesuffix(".flac"))
        assert np.abs(read_audio(tmp_path / "copies" / name) - original).max() <= 2**-16 + 1e-7


def test_convert_keeps_the_split(music, tmp_path):
    run(music)
    run(music, "converted", convert=tmp_path / "copies")
    for split in ("train", "valid"):
        assert [name + ".flac" for name in rows(tmp_path / "out", split)] == list(rows(tmp_path / "converted", split))


def test_convert_again_leaves_complete_copies_alone(music, tmp_path):
    write(music / "loud.wav", tone(1, peak=1.5), subtype="FLOAT")
    copies = tmp_path / "copies"
    first = run(music, convert=copies)
    before, stamps = contents(copies), {path: path.stat().st_mtime_ns for path in copies.rglob("*.flac")}
    outputs = contents(tmp_path / "out")
    (copies / "album 0" / "00.wav.flac").unlink()
    write(music / "album 1" / "01.flac", tone(2))  # changed since
    second = run(music, convert=copies)
    changed = {"album 0/00.wav.flac", "album 1/01.flac.flac"}
    after = {path: path.stat().st_mtime_ns for path in copies.rglob("*.flac")}
    assert {str(path.relative_to(copies)) for path in after if after[path] != stamps[path]} == changed
    assert contents(copies)["album 0/00.wav.flac"] == before["album 0/00.wav.flac"]
    assert len(read_audio(copies / "album 1/01.flac.flac")) == 48_000
    assert second.clipped == first.clipped == 1
    assert contents(tmp_path / "out")["report.tsv"] == outputs["report.tsv"]


def test_clipped_copies_are_kept_and_counted(music, tmp_path):
    loud = write(music / "loud.wav", tone(1, peak=1.5), subtype="FLOAT")
    report = run(music, convert=tmp_path / "copies")
    num_clipped = int((np.abs(read_audio(loud)) > 1).sum())
    assert report.clipped == 1 and report.rejected == {} and num_clipped > 1000
    assert f"loud.wav\tclipped\tkept; {num_clipped} samples beyond full scale\n" in (tmp_path / "out/report.tsv").read_text()
    copy = read_audio(tmp_path / "copies/loud.wav.flac")
    assert np.abs(copy - np.clip(read_audio(loud), -1, 1)).max() <= 2**-15
    assert "loud.wav.flac" in both(tmp_path / "out")


def test_convert_does_not_overwrite_what_it_did_not_make(music, tmp_path):
    write(tmp_path / "copies/album 0/00.wav.flac", tone(3))
    (tmp_path / "copies/album 0/03.mp3.flac").write_text("mine")
    before = contents(tmp_path / "copies")
    report = run(music, convert=tmp_path / "copies")
    assert report.rejected == {"copy_name_taken": 2}
    assert before.items() <= contents(tmp_path / "copies").items()


@pytest.mark.parametrize("inside", ["music", "music/copies", "."])
def test_copies_among_the_sources_are_refused(music, tmp_path, inside):
    with pytest.raises(MertError, match="lies in the other"):
        run(music, convert=tmp_path / inside)


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
