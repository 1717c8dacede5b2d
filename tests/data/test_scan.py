"""`mert manifest`: which files get into the manifests, which do not and why, and what a rerun gives."""

import hashlib

import numpy as np
import pytest
from scanned_music import both, contents, reasons, rows, run, tone, write

from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.data.scan import split_share


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
