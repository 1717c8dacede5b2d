"""Ways to damage a file of any format, and what may become of those who read it."""

import numpy as np

from mert_fairseq.errors import MertError

#: Content of other programs, and none.
FOREIGN = (b"", b"\0" * 999, b"not this", b"PK\x03\x04" + b"x" * 99, b"{}", b"[]", b"null", b'{"a": ' * 500, b"\x80\x02}q\0.", b"\xff\xfe")


def damages(text, faults, rng, flips=(12, 80), cuts=(5, 30)):
    """(kind, content) of damaged files."""
    for part in np.linspace(0, 1, faults.times(*cuts), endpoint=False):
        yield "cut", text[: int(part * len(text))]
    for _ in range(faults.times(*flips)):
        changed = bytearray(text)
        changed[int(rng.integers(len(text)))] ^= 1 << int(rng.integers(8))
        yield "bit flipped", bytes(changed)
    for _ in range(faults.times(2, 10) if text else 0):
        place, length = int(rng.integers(len(text))), int(rng.integers(1, 65))
        yield "noise", text[:place] + rng.bytes(min(length, len(text) - place)) + text[place + length :]
    for content in FOREIGN:
        yield "foreign", content


def inject(faults, what, path, read, wanted, flips=(12, 80)):
    """Damages one file again and again; `read` gives what is compared with `wanted`, or raises MertError."""
    text, rng = path.read_bytes(), np.random.default_rng(len(what))
    for kind, content in damages(text, faults, rng, flips):
        path.write_bytes(content)
        try:
            found, said = read(), ""
        except MertError as error:
            outcome, said = "silent" if "\n" in str(error) else "refused", str(error)
        except Exception as error:  # noqa: BLE001  a user would see its traceback
            outcome, said = "traceback", repr(error)
        else:
            outcome = "survived" if wanted is None or found == wanted else "silent"
        faults.record(f"{what}: {kind}", outcome, said)
    path.write_bytes(text)
