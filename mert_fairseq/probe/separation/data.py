"""A task's items as tracks that can be read, all looked at before anything is computed."""

from dataclasses import replace
from pathlib import Path
from typing import Dict, List

from mert_fairseq.errors import MertError
from mert_fairseq.probe.items import SPLITS, Item, TaskData
from mert_fairseq.probe.separation.mixes import NATIVE_HOP
from mert_fairseq.probe.separation.settings import SeparationSettings
from mert_fairseq.probe.separation.stem_files import check_decoding, decode, decoded_folder, is_decoded, is_stem_file
from mert_fairseq.probe.separation.tracks import Track, check_lengths, open_track
from mert_fairseq.probe.separation.training import Progress


def open_tracks(data: TaskData, settings: SeparationSettings, decoded: Path, progress: Progress) -> Dict[str, List[Track]]:
    """Tracks of each split, those of the STEMS release decoded first.

    Args:
        decoded: folder for what is decoded, if the settings name none.

    Raises:
        MertError: a split is empty, a track is damaged or too short, or ffmpeg is missing for a .stem.mp4 file.
    """
    for split in SPLITS:
        if not data.of(split):
            where = "valid are 14 of its train folder" if split == "valid" else f"its tracks lie in the folder {split}"
            raise MertError(f"MUSDB18: no track of split {split}; {where}, unpack the release again")
    folder = settings.decoded or decoded
    waves = _as_folders(data.items, folder, progress)
    splits = {split: [open_track(item) for item in waves if item.split == split] for split in SPLITS}
    check_lengths(splits["train"], settings.chunk_frames * NATIVE_HOP)
    return splits


def _as_folders(items: List[Item], folder: Path, progress: Progress) -> List[Item]:
    """The same items, each a folder."""
    files = [item for item in items if is_stem_file(item)]
    check_decoding(files, folder)
    for done, item in enumerate(files, 1):
        if not is_decoded(item, folder):
            decode(item, folder)
        progress("decoding", done, len(files))
    return [replace(item, path=decoded_folder(item, folder)) if is_stem_file(item) else item for item in items]
