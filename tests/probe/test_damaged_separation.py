"""What a separation keeps, damaged: refused in one line, or done again."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_separation import SETTINGS, CountingEncoder, counting, made_run, make_run, stems_of

from mert_fairseq.errors import MertError
from mert_fairseq.json_hash import KEY, with_hash
from mert_fairseq.probe.separation import song_scores
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.stored_features import KeepingListener

NAME, WAVES = "train/a song", torch.stack([counting(24_000, 640 * clip) for clip in range(4)])


def flip(path, place, bit=0):
    text = bytearray(path.read_bytes())
    text[place] ^= 1 << bit
    path.write_bytes(text)


def keeping(folder, **changes):
    """An encoder that notes what it hears, and the listener that keeps it."""
    encoder = CountingEncoder()
    return encoder, KeepingListener(encoder, SeparationSettings(chunk_s=1.0, piece_s=1.0, **changes), folder, 4)


@pytest.fixture
def heard(tmp_path):
    """Features of three mixes and of a song, as they were given out."""
    _, listener = keeping(tmp_path)
    return listener.chunks(WAVES[:3], [0, 1, 2]), torch.cat(list(listener.song(counting(60_000), NAME)), 2)


def test_a_mix_that_is_not_as_it_was_written_is_heard_again(heard, tmp_path, caplog):
    flip(tmp_path / "mixes.npy", -1)  # never heard, without a checksum
    flip(tmp_path / "mixes.npy", 128 + (tmp_path / "mixes.npy").stat().st_size // 3)  # of the second mix
    flip(tmp_path / "mixes_sums.npy", 128 + 2 * 8)
    encoder, listener = keeping(tmp_path)
    with caplog.at_level(logging.WARNING, "mert_fairseq"):
        again = listener.chunks(WAVES[:3], [0, 1, 2])
    assert torch.equal(again, heard[0]) and encoder.heard == [(2, 24_000)]
    assert [f"row {number} is not as it was written; this is heard again" in caplog.text for number in range(3)] == [False, True, True]
    encoder, listener = keeping(tmp_path)
    assert torch.equal(listener.chunks(WAVES[:3], [0, 1, 2]), heard[0]) and encoder.heard == []


HEADERS = {"dtype": (b"'<f2'", b"'>f2'"), "order": (b"False", b"True "), "shape": (b"(4, 3,", b"(3, 4,"), "magic": (b"NUMPY", b"NUMPX")}


@pytest.mark.parametrize("what", HEADERS)
def test_headers_of_mixes_that_are_damaged_are_refused(heard, tmp_path, what):
    path = tmp_path / "mixes.npy"
    path.write_bytes(path.read_bytes().replace(*HEADERS[what], 1))
    with pytest.raises(MertError, match="mixes.npy: (cannot be read .*; remove it, and the same command hears it|of shape .*remove its)"):
        keeping(tmp_path)[1].chunks(WAVES, range(4))


def test_a_song_that_is_not_as_it_was_written_is_refused(heard, tmp_path):
    path = tmp_path / "songs" / f"{NAME}.array"
    flip(path, -1)
    encoder, listener = keeping(tmp_path)
    with pytest.raises(MertError, match="a song.array: cannot be read .not as it was written.; remove it, and the same command hears it"):
        list(listener.song(counting(60_000), NAME))
    path.unlink()
    assert torch.equal(torch.cat(list(listener.song(counting(60_000), NAME)), 2), heard[1]) and encoder.heard
    with pytest.raises(MertError, match=r"a song.array: of shape \(3, 188, 2\), \(3, 189, 2\) wanted; remove its folder"):
        list(listener.song(counting(60_320), NAME))


def test_features_of_earlier_versions_are_heard_again(heard, tmp_path, caplog):
    """They had no checksums."""
    np.save(tmp_path / "mixes_heard.npy", np.ones(4, np.uint8))
    song = tmp_path / "songs" / f"{NAME}.array"
    np.save(song.with_suffix(".npy"), np.zeros((3, 188, 2), np.float16))
    song.unlink()
    (tmp_path / "mixes_sums.npy").unlink()
    encoder, listener = keeping(tmp_path)
    with caplog.at_level(logging.WARNING, "mert_fairseq"):
        assert torch.equal(listener.chunks(WAVES[:3], [0, 1, 2]), heard[0])
        assert torch.equal(torch.cat(list(listener.song(counting(60_000), NAME)), 2), heard[1])
    assert caplog.text.count("as earlier versions wrote it; this is heard again") == 2 and len(encoder.heard) > 1
    left = {path.name for path in tmp_path.rglob("*.*")}
    assert left == {"mixes.npy", "mixes_sums.npy", "a song.array"}


def test_scores_that_are_not_as_they_were_written_are_refused(tmp_path, caplog):
    make_run(tmp_path)
    path = tmp_path / "scores_alone_24000.json"
    content = json.loads(path.read_text())
    changed = {**content, "mean": {"vocals": 9.0}}
    for damaged in (json.dumps(changed), "[1]", "null", "{", json.dumps(with_hash({**content, "version": 2}))):
        path.write_text(damaged)
        with pytest.raises(MertError, match="scores_alone_24000.json: cannot be read .*; remove it, and the same command makes it again"):
            made_run(tmp_path)
    path.write_text(json.dumps({name: value for name, value in content.items() if name != KEY}))  # by an earlier version
    with caplog.at_level(logging.WARNING, "mert_fairseq"):
        assert made_run(tmp_path)["scores"] == {} and "has no checksum, as earlier versions wrote it; this is done again" in caplog.text


def test_a_run_of_which_nobody_knows_what_it_is_of_is_refused(tmp_path):
    make_run(tmp_path)
    path, anew = tmp_path / "run.json", f"remove {tmp_path} to begin anew"
    text = path.read_text()
    for damaged in ("{", "[1]", text.replace('"hidden": 4', '"hidden": 5'), text.replace(KEY, "x")):
        path.write_text(damaged)
        with pytest.raises(MertError, match=f"run.json: cannot be read .*; {anew}"):
            made_run(tmp_path)
    path.unlink()
    with pytest.raises(MertError, match=f"run.json: missing, so that nobody knows .*; {anew}"):
        made_run(tmp_path)
    content = json.loads(text)
    path.write_text(json.dumps({name: value for name, value in content.items() if name != KEY}))  # by an earlier version
    assert made_run(tmp_path)["scores"] and json.loads(path.read_text()) == content


@pytest.mark.parametrize("name, mend", [("training.pt", "remove it"), ("vocals.pt", "remove it and training.pt")])
def test_a_training_state_of_something_else_is_one_line(tmp_path, name, mend):
    make_run(tmp_path)
    for content in ({}, [1], {"stems": {"vocals": {}}, "network": {"x": torch.ones(2)}}, 3):
        torch.save(content, tmp_path / name)
        with pytest.raises(MertError, match=f"{name}: cannot be read .not a .*; {mend} to train anew"):
            made_run(tmp_path)


def test_scores_that_are_no_numbers_are_refused(monkeypatch):
    wave, track = torch.full((2, 24_000), float("nan")), SimpleNamespace(name="song")
    monkeypatch.setattr(song_scores, "read_song", lambda *_: [torch.ones(2, 24_000)] * 2)
    monkeypatch.setattr(song_scores, "song_masks", lambda *_: {})
    monkeypatch.setattr(song_scores, "split", lambda *_: {"vocals": wave})
    with pytest.raises(MertError, match="song: SDR of vocals is nan; the encoder's weights or its precision are at fault"):
        song_scores.score_song(dict.fromkeys(stems_of(SETTINGS)), None, SETTINGS, track)
