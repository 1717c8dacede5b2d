"""`mert manifest --convert`: copies in the tree of their sources, whole, and never over what is not theirs."""

import numpy as np
import pytest
import soundfile
from scanned_music import both, contents, rows, run, tone, write

from mert_fairseq.data.audio import read_audio
from mert_fairseq.data.manifest import read_manifest
from mert_fairseq.errors import MertError


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
