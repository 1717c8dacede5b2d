"""Audio that is refused: files cut short, samples that are not finite, windows that cannot be, and what is no audio."""

import numpy as np
import pytest
from made_waves import music, write

from mert_fairseq.data.audio import AudioError, audio_info, read_audio
from mert_fairseq.errors import MertError


def cut(path, num_bytes):
    path.write_bytes(path.read_bytes()[:num_bytes])


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_file_cut_short_is_refused(tmp_path, name):
    path = write(tmp_path / name, music(24_000 * 5, 24_000), 24_000)
    assert len(read_audio(path)) == 120_000
    cut(path, path.stat().st_size // 2)
    for window in ((), (0, 120_000), (24_000 * 4, 9600)):
        with pytest.raises(AudioError) as caught:
            read_audio(path, *window)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.wav", "a.ogg"])
def test_headers_show_a_file_cut_short(tmp_path, name):
    path = write(tmp_path / name, music(24_000 * 5, 24_000), 24_000)
    cut(path, path.stat().st_size - 3000)
    with pytest.raises(AudioError, match="cut short") as caught:
        audio_info(path)
    assert caught.value.reason == "truncated"


def test_wav_written_to_a_pipe_is_no_file_cut_short(tmp_path):
    path = write(tmp_path / "a.wav", music(9600, 24_000), 24_000)
    text = bytearray(path.read_bytes())
    text[4:8] = text[40:44] = b"\xff" * 4
    path.write_bytes(text)
    assert audio_info(path).num_samples == len(read_audio(path)) == 9600


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_refused(tmp_path, value):
    wave = music(24_000, 24_000)[:, 0]
    wave[12_345] = value
    path = write(tmp_path / "a.wav", wave, 24_000, subtype="FLOAT")
    with pytest.raises(AudioError, match="sample 12345 .* NaN or infinite") as caught:
        read_audio(path)
    assert caught.value.reason == "non_finite"
    assert len(read_audio(path, 0, 9600)) == 9600


@pytest.mark.parametrize("window", [(-320, 640), (0, 0), (0, -1)])
def test_windows_that_cannot_be_are_refused(tmp_path, window):
    path = write(tmp_path / "a.wav", music(24_000, 24_000), 24_000)
    with pytest.raises(AudioError, match="allowed are"):
        read_audio(path, *window)


def test_a_window_beyond_the_end_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", music(44_100, 44_100), 44_100)
    assert len(read_audio(path, 23_999, 1)) == 1
    for start, size in ((24_000, 1), (24_000, None), (50_000, 320)):
        with pytest.raises(AudioError, match="beyond the end: the file has 24000"):
            read_audio(path, start, size)
    with pytest.raises(AudioError, match="1000 samples expected from sample 23680 on, 320 found"):
        read_audio(path, 23_680, 1000)


@pytest.mark.parametrize("text", [b"", b"not audio at all" * 100, b"OggS" + bytes(100), b"RIFF"])
@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".raw"])
def test_what_is_no_audio_is_refused(tmp_path, text, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(text)
    for read in (audio_info, read_audio):
        with pytest.raises(MertError, match="cannot be opened as audio") as caught:
            read(path)
        assert "does not exist" not in str(caught.value)  # it does


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(AudioError, match="is a folder"):
        audio_info(tmp_path)


def test_a_rate_without_common_factor_is_refused(tmp_path):
    path = write(tmp_path / "a.wav", music(5000, 44_101), 44_101)
    with pytest.raises(AudioError, match="44101 Hz .*`ffmpeg") as caught:
        audio_info(path)
    assert caught.value.reason == "unsupported_rate"
