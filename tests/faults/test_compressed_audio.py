"""Ogg streams with broken pages and MP3 files that lost frames: refused, or what they hold."""

import numpy as np
import pytest
import soundfile
from damaged_audio import write
from test_odd_audio import RATE

from mert_fairseq.data.audio import AudioError, audio_info, read_audio
from mert_fairseq.probe.audio_check import lengths_of
from mert_fairseq.probe.items import Item


def test_an_ogg_whose_last_pages_are_broken(recordings, faults, tmp_path):
    """libsndfile takes it for a shorter file."""
    for back in (600, 1200, 2500):
        text = bytearray(recordings["ogg"].text)
        text[-back] ^= 1
        with pytest.raises(AudioError, match="page of the Ogg stream"):
            audio_info(write(tmp_path / "a.ogg", text))
        faults.record("audio: last page of an Ogg broken", "refused")


def second_half_header(text):
    """Where a frame of an MP3 begins, behind the middle."""
    return next_header(text, len(text) // 2)


def next_header(text, first):
    """Where the next frame of an MP3 begins, from the byte `first` on."""
    places = range(first, len(text))
    return next(place for place in places if text[place : place + 2] == text[:2] and text[place + 2] & 12 == text[2] & 12)


def test_an_mp3_that_lost_a_frame(recordings, faults, tmp_path):
    """The decoder goes on with the next one: all that follows is 24 ms early, and the end is missing."""
    whole = recordings["mp3"]
    text = bytearray(whole.text)
    text[second_half_header(whole.text)] = 0
    path = write(tmp_path / "a.mp3", text)
    late = len(whole.wave) // 4 * 3 // 320 * 320
    with pytest.raises(AudioError, match="are lost within it"):
        read_audio(path, late, 9600, len(whole.wave))
    assert np.abs(read_audio(path, 0, 9600) - whole.wave[:9600]).max() < 1e-4  # what comes before is as it was
    faults.record("audio: frame of an MP3 lost", "refused")


@pytest.mark.parametrize("frames", [1, 20])
def test_an_mp3_that_whole_frames_are_cut_from(recordings, frames, faults, tmp_path):
    """What is left follows on; the header tells that there were more."""
    whole = recordings["mp3"].text
    begin = end = second_half_header(whole)
    for _ in range(frames):
        end = next_header(whole, end + 1)
    path = write(tmp_path / "a.mp3", whole[:begin] + whole[end:])
    length = len(recordings["mp3"].wave)
    for start in (0, length // 2, length - 9600):
        with pytest.raises(AudioError, match="fewer frames than its header says"):
            read_audio(path, start, 9600, length)
        faults.record("audio: frames cut out of an MP3", "refused")


def test_an_mp3_that_lost_its_length_header(recordings, faults, tmp_path):
    """Without it nothing is trimmed, and everything comes a frame and more later than when its row was written."""
    whole = recordings["mp3"]
    text = bytearray(whole.text)
    place = max(text.find(b"Xing"), text.find(b"Info"))
    text[place] = 0
    with pytest.raises(AudioError, match="its row says"):
        read_audio(write(tmp_path / "a.mp3", text), 0, 9600, len(whole.wave))
    faults.record("audio: length header of an MP3 lost", "refused")


def test_probe_check_decodes_what_it_checks(recordings, faults, tmp_path):
    """An MP3 with whole headers and a lost frame; --quick does not see it, and says that it does not look."""
    text = bytearray(recordings["mp3"].text)
    text[second_half_header(recordings["mp3"].text)] = 0
    item = Item("a", write(tmp_path / "a.mp3", text), "train", 0)
    seconds, wrong, _ = lengths_of([item], 1)
    faults.record("audio: lost frame, probe check", "refused" if not seconds and len(wrong) == 1 else "silent", str(wrong))
    assert lengths_of([item], 1, decode=False)[1] == []


@pytest.mark.parametrize("fault", ["broken", "missing"])
def test_an_ogg_with_a_fault_in_its_middle(fault, faults, tmp_path):
    """libsndfile leaves the page out and what follows comes early; a window far from it is as it was, even in a file of many pages."""
    path = tmp_path / "a.ogg"
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, 120 * RATE).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 1, format="OGG", subtype="VORBIS") as sound:
        for first in range(0, len(wave), RATE):  # at once it would overflow libsndfile's stack
            sound.write(wave[first : first + RATE])
    whole, text = read_audio(path), bytearray(path.read_bytes())
    assert len(text) > 6 * 65_307
    kind = f"audio: page of a long Ogg {fault}"
    if fault == "broken":
        text[len(text) // 2] ^= 1
    else:
        begin = text.index(b"OggS\0", len(text) // 2)
        del text[begin : text.index(b"OggS\0", begin + 1)]
    write(path, text)
    refused = []
    for start in range(0, len(whole) - 48_000, 48_000):
        try:
            found = read_audio(path, start, 48_000, len(whole))
        except AudioError as error:
            refused.append(start)
            faults.record(kind, "refused" if "page of the Ogg stream" in str(error) else "silent", str(error))
        else:
            same = np.array_equal(found, whole[start : start + 48_000])
            faults.record(kind, "survived" if same else "silent", str(start))
    assert 0 < len(refused) < 30  # of 59
