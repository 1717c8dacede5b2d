"""Rows of a manifest, and manifests of another tool."""

ROWS = [("albums/one/01.flac", 7_200_000), ("albums/one/02.ogg", 5_436_012), ("b c/ü – 3.mp3", 72_000)]
TEXT = "".join(f"{path}\t{length}\n" for path, length in ROWS).encode()


def foreign(tmp_path, text, name="train.tsv"):
    """A manifest of another tool: no side file."""
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path
