"""The project's own error class: one line that names the value, what is allowed and the command that mends it."""

from hydra.errors import CompactHydraException


class MertError(ValueError, CompactHydraException):
    """A fault in what the user gave (file, setting, folder), not in the program.

    Being a ``ValueError`` it can be caught as one; being a ``CompactHydraException`` it is shown by
    ``fairseq-hydra-train`` as its message alone, without a traceback, and the process exits with 1.
    """

    def __init__(self, message: str):
        # A loader process sends its traceback as the message; the user needs its last line.
        if message.startswith("Caught ") and "Original Traceback" in message:
            message = message.strip().rsplit("\n", 1)[-1].split(": ", 1)[-1]
        super().__init__("".join(map(_shown, message)))


def _shown(letter: str) -> str:
    """One line stays one line, and no terminal obeys it, whatever a file is called or holds."""
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
