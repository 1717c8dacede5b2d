"""Reading audio: windows equal slices of the whole, and lengths are exact."""

import numpy as np
import pytest
import soundfile
import torch
from made_waves import music, write
from torchaudio.functional import resample

from mert_fairseq.data.audio import AudioError, audio_info, is_audio_name, read_audio, resampled_length

RATES = (8000, 11025, 16000, 22050, 32000, 44100, 48000, 96000)


def windows(length, seed=1):
    """Windows on the 320-sample grid: the first, the last ones, and some between, as (start, num_samples)."""
    rng = np.random.default_rng(seed)
    starts = [0, 320, (length - 1) // 320 * 320, max(0, length - 3000) // 320 * 320]
    starts += [int(start) * 320 for start in rng.integers(0, length // 320, 6)]
    return [(start, min(9600, length - start)) for start in starts]


def worst_window(path, whole):
    return max(np.abs(read_audio(path, start, size) - whole[start : start + size]).max() for start, size in windows(len(whole)))


@pytest.mark.parametrize("rate", RATES)
def test_windows_of_resampled_wav_equal_the_resampled_whole(tmp_path, rate):
    wave = music(3 * rate + 17, rate, channels=2)
    path = write(tmp_path / "a.wav", wave, rate, subtype="FLOAT")
    whole = resample(torch.from_numpy(wave.mean(axis=1)), rate, 24_000).numpy()
    assert len(whole) == -(-len(wave) * 24_000 // rate) == audio_info(path).num_samples
    assert np.abs(read_audio(path) - whole).max() <= 1e-5
    assert worst_window(path, whole) <= 1e-5


@pytest.mark.parametrize("rate", [22050, 24000, 44100])
@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3", "A.OGG"])
def test_windows_of_compressed_files_equal_the_whole(tmp_path, name, rate):
    """Up to the last sample: the end of a Vorbis file is where libsndfile's own seek is wrong."""
    path = write(tmp_path / name, music(5 * rate + 137, rate, channels=2), rate)
    whole = read_audio(path)
    assert len(whole) == audio_info(path).num_samples == resampled_length(5 * rate + 137, rate)
    assert worst_window(path, whole) <= 1e-5


@pytest.mark.parametrize("mode, level", [("VARIABLE", 0.99), ("CONSTANT", 0.99), ("CONSTANT", 0.5)])
@pytest.mark.parametrize("channels", [1, 2])
def test_windows_of_mp3_with_a_bit_reservoir(tmp_path, mode, level, channels):
    """At low bit rates a frame's data lies many frames back; decoding at once, front to back, is the reference."""
    wave = music(24_000 * 20, 24_000, channels)
    path = write(tmp_path / "a.mp3", wave, 24_000, bitrate_mode=mode, compression_level=level)
    with soundfile.SoundFile(path) as sound:
        whole = sound.read(sound.frames, dtype="float32", always_2d=True).mean(axis=1)
    assert np.abs(read_audio(path) - whole).max() <= 1e-5
    assert worst_window(path, whole) <= 1e-5


def test_24_khz_is_read_bit_for_bit_and_not_normalised(tmp_path):
    wave = music(24_000, 24_000)[:, 0] * 3
    path = write(tmp_path / "a.wav", wave, 24_000, subtype="FLOAT")
    found = read_audio(path, 320, 640)
    assert found.dtype == np.float32 and found.shape == (640,)
    assert np.array_equal(found, wave[320:960]) and np.abs(wave).max() > 1


def test_mono_is_the_mean_of_the_channels(tmp_path):
    wave = np.stack([np.full(9600, 0.5), np.full(9600, -0.25), np.zeros(9600)], axis=1)
    path = write(tmp_path / "a.wav", wave, 24_000, subtype="FLOAT")
    assert np.allclose(read_audio(path), 0.25 / 3, atol=1e-7)


@pytest.mark.parametrize(
    "name, subtype, step",
    [("a.wav", "PCM_U8", 2**-7), ("a.wav", "PCM_16", 2**-15), ("a.wav", "PCM_24", 2**-23), ("a.flac", "PCM_24", 2**-23)]
    + [("a.wav", "PCM_32", 2**-23), ("a.wav", "FLOAT", 2**-23)],
)
def test_encodings_differ_by_their_rounding_only(tmp_path, name, subtype, step):
    wave = music(24_000, 24_000)[:, 0]
    path = write(tmp_path / name, wave, 24_000, subtype=subtype)
    assert np.abs(read_audio(path) - wave).max() <= 2 * step
    assert audio_info(path).subtype == subtype


def test_audio_info_tells_native_and_resampled_length(tmp_path):
    info = audio_info(write(tmp_path / "a.wav", music(44_101, 44_100, 2), 44_100))
    assert (info.num_samples, info.native_rate, info.channels, info.native_frames) == (24_001, 44_100, 2, 44_101)


def test_resampled_length_is_exact_for_long_files():
    """float32, in which torchaudio reckons, is a sample short here."""
    assert resampled_length(15_887_863, 44_100) == 8_646_457
    assert resampled_length(0, 44_100) == 0 and resampled_length(1, 96_000) == 1


def test_length_of_mp3_without_length_header_is_counted(tmp_path):
    """44.1 kHz at 32 kbit/s: libsndfile's estimate is half a per cent too long."""
    path = write(tmp_path / "a.mp3", music(44_100 * 10, 44_100), 44_100, bitrate_mode="CONSTANT", compression_level=0.99)
    info = audio_info(path)
    assert soundfile.info(path).frames > info.native_frames and info.native_frames % 1152 == 0
    assert len(read_audio(path)) == info.num_samples
    with pytest.raises(AudioError, match="found"):
        read_audio(path, info.num_samples - 320, 321)


def without_first_frame(path):
    """The MP3 without its Xing frame: the next header with the same version and rate starts the audio."""
    text = path.read_bytes()
    place = next(p for p in range(24, 3000) if text[p : p + 2] == text[:2] and text[p + 2] & 12 == text[2] & 12)
    path.write_bytes(text[place:])


def test_variable_bit_rate_mp3_without_header_is_refused_where_its_end_is_unknown(tmp_path):
    """A loud start makes the first frames large and the estimate short; libsndfile does not read past it."""
    wave = music(44_100 * 20, 44_100)
    wave[: 44_100 * 2] = np.random.default_rng(0).uniform(-0.9, 0.9, (44_100 * 2, 1))
    wave[44_100 * 2 :] = 0.001 * wave[44_100 * 2 :]
    path = write(tmp_path / "a.mp3", wave, 44_100, bitrate_mode="VARIABLE", compression_level=0.2)
    assert audio_info(path).native_frames == 44_100 * 20
    without_first_frame(path)
    with pytest.raises(AudioError, match="ffmpeg -i IN.mp3 -c copy") as caught:
        audio_info(path)
    assert caught.value.reason == "unknown_length"


def test_id3_tag_before_the_length_header(tmp_path):
    path = write(tmp_path / "a.mp3", music(24_000 * 4, 24_000), 24_000)
    path.write_bytes(b"ID3\x03\0\0\0\0\x10\0" + bytes(2048) + path.read_bytes() + b"TAG" + bytes(125))
    assert audio_info(path).num_samples == len(read_audio(path)) == 24_000 * 4


def test_flac_without_length_in_its_header(tmp_path):
    wave = music(30_000, 24_000)[:, 0]
    path = write(tmp_path / "a.flac", wave, 24_000)
    text = bytearray(path.read_bytes())
    text[21] &= 0xF0  # total samples: 36 bits of STREAMINFO
    text[22:26] = bytes(4)
    path.write_bytes(text)
    assert audio_info(path).num_samples == len(read_audio(path)) == 30_000
    with pytest.raises(AudioError, match="10000 samples expected from sample 25000 on, 5000 found"):
        read_audio(path, 25_000, 10_000)


def test_opus_windows_equal_the_whole(tmp_path):
    path = write(tmp_path / "a.ogg", music(24_000 * 6, 24_000), 24_000, format="OGG", subtype="OPUS")
    assert worst_window(path, read_audio(path)) <= 1e-5


def test_audio_names():
    assert all(is_audio_name(name) for name in ("a.wav", "B.FLAC", "c.d.Ogg", "e.mp3"))
    assert not any(is_audio_name(name) for name in ("a.txt", "wav", "a.wav.part", "a.flac~"))
