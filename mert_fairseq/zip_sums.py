"""What torch saves: the checksums within, which its loader does not look at, and the errors it raises."""

import struct
import zipfile

#: What torch's loader has been seen to raise on damaged files, besides its own refusals.
DAMAGED = (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError, AssertionError, OverflowError)
DAMAGED += (MemoryError, struct.error, zipfile.BadZipFile)


def check_sums(path: str) -> bool:
    """Whether a file is an archive at all; raises BadZipFile for content that does not have its checksum."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        changed = archive.testzip()
    if changed is not None:
        raise zipfile.BadZipFile(f"{changed} does not have its checksum")
    return True
