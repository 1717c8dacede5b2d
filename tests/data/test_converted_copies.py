"""`mert manifest --convert`: copies in the tree of their sources, whole, and never over what is not theirs."""

import os

import numpy as np
import pytest
import soundfile
from scanned_music import both, contents, rows, run, tone, write

from mert_fairseq.data import file_check
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


def flipped(text):
    middle = len(text) // 2
    return text[:middle] + bytes(byte ^ 255 for byte in text[middle : middle + 12]) + text[middle + 12 :]


def cut(text):
    return text[: len(text) // 2]


def of_another_checksum(text):
    return text[:26] + bytes([text[26] ^ 1]) + text[27:]


def of_another_rate(text):
    assert text[18:21] == bytes([0x05, 0xDC, 0x00])  # 24,000 in 20 bits, mono
    return text[:18] + bytes([0x0A, 0xC4, 0x40]) + text[21:]  # 44,100


@pytest.mark.parametrize("damage", [flipped, cut, of_another_checksum, of_another_rate])
def test_damaged_copies_are_made_again_and_said(music, tmp_path, damage):
    copies, name = tmp_path / "copies", "album 0/00.wav"
    assert run(music, convert=copies).remade == 0
    before, outputs = contents(copies), contents(tmp_path / "out")
    (copies / f"{name}.flac").write_bytes(damage(before[f"{name}.flac"]))
    report = run(music, convert=copies)
    assert report.remade == 1 and report.rejected == {} and contents(copies) == before
    assert f"{name}\tdamaged_copy\tmade again; " in (tmp_path / "out/report.tsv").read_text()
    assert run(music, convert=copies).remade == 0 and contents(tmp_path / "out") == outputs


def test_quick_takes_copies_for_whole(music, tmp_path):
    copies = tmp_path / "copies"
    run(music, convert=copies)
    path = copies / "album 0/00.wav.flac"
    path.write_bytes(path.read_bytes()[:-100])
    before = contents(copies)
    assert run(music, convert=copies, quick=True).remade == 0 and contents(copies) == before


def test_a_copy_of_an_encoder_without_checksums_is_decoded_alone(music, tmp_path):
    copies = tmp_path / "copies"
    run(music, convert=copies)
    path = copies / "album 0/00.wav.flac"
    text = path.read_bytes()
    path.write_bytes(text[:26] + bytes(16) + text[42:])
    assert run(music, convert=copies).remade == 0
    path.write_bytes(path.read_bytes()[:-100])
    assert run(music, convert=copies).remade == 1 and path.read_bytes() == text


def test_a_copy_that_does_not_say_how_much_was_clipped_is_not_ours(music, tmp_path):
    copies = tmp_path / "copies"
    run(music, convert=copies)
    path = copies / "album 0/00.wav.flac"
    path.write_bytes(path.read_bytes().replace(b"num_clipped", b"num_blipped"))
    assert run(music, convert=copies).rejected == {"copy_name_taken": 1}


@pytest.mark.parametrize("copied", [True, False])
def test_a_source_that_changes_while_it_is_read_is_left_out(music, tmp_path, monkeypatch, copied):
    read, path = file_check.read_audio, music / "album 0/00.wav"

    def touched(name, *window):
        wave = read(name, *window)
        if name == path:
            os.utime(path, (0, 0))
        return wave

    monkeypatch.setattr(file_check, "read_audio", touched)
    report = run(music, convert=tmp_path / "copies" if copied else None)
    assert report.rejected == {"changed": 1} and not (tmp_path / "copies/album 0/00.wav.flac").exists()
    monkeypatch.undo()
    assert run(music, convert=tmp_path / "copies").rejected == {}


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
