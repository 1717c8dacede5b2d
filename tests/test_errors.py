"""A message is one line whatever it names, and says to the terminal nothing but text."""

import pytest

from mert_fairseq.errors import MertError


@pytest.mark.parametrize(
    "given, shown",
    [
        ("/music/a.wav: cut short", "/music/a.wav: cut short"),
        ("/music/Ænima – Tool 曲.flac: x", "/music/Ænima – Tool 曲.flac: x"),
        ("one\ntwo\r\nthree\ttab", r"one\ntwo\r\nthree\ttab"),
        ("\x1b[2Jcleared \x07", r"\x1b[2Jcleared \x07"),
        ("not UTF-8: \udcff", r"not UTF-8: \udcff"),
        ("turned \u202e round", r"turned \u202e round"),
        ("\u2028two lines\x85to some", r"\u2028two lines\x85to some"),
    ],
)
def test_a_message_is_one_line_that_no_terminal_obeys(given, shown):
    assert str(MertError(given)) == shown
    assert str(MertError(shown)) == shown  # a message that is passed on stays what it is
    shown.encode("utf-8")


def test_the_message_of_a_loader_process_is_its_last_line():
    sent = "Caught MertError in DataLoader worker process 0.\nOriginal Traceback:\n  File x\nmert_fairseq.errors.MertError: a.wav: gone\n"
    assert str(MertError(sent)) == "a.wav: gone"
