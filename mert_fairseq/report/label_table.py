"""The figures of target stores as text."""

from typing import List

from mert_fairseq.report.label_stats import COLLAPSED_DEAD, COLLAPSED_PERPLEXITY, CodebookStats, SpectrumStats, StoreStats

HEAD = "  codebook   entries      used      dead   perplexity     top %   repeat %"


def table(stats: StoreStats) -> str:
    """A store's size, then a line for each codebook (or one for the spectrum), then a line for each that looks collapsed."""
    shards = f"{stats.num_shards} shard{'s' if stats.num_shards != 1 else ''}"
    rows = f"{stats.num_rows:,} rows ({stats.num_empty:,} empty)"
    size = f"{stats.num_frames:,} frames, {stats.hours:.2f} h, {stats.megabytes_per_hour:.2f} MB per hour"
    lines = [f"{stats.folder.name}: {stats.info.kind} by {stats.info.teacher}, {shards}, {rows}, {size}"]
    if stats.num_read < stats.num_frames:
        lines.append(
            f"  figures from {stats.num_read:,} frames, {stats.num_read / stats.info.frame_rate / 3600:.2f} h, spread over the store"
        )
    if stats.num_read == 0:
        lines.append("  no frames, so no figures")
    elif stats.spectrum is not None:
        lines.append(_spectrum_line(stats.spectrum, stats.num_read))
    else:
        lines += [HEAD, *(_codebook_line(number, codebook) for number, codebook in enumerate(stats.codebooks))]
        lines += _warnings(stats)
    return "\n".join(lines)


def _codebook_line(number: int, codebook: CodebookStats) -> str:
    counts = f"{number:10}{len(codebook.counts):10}{codebook.num_used:10}{codebook.num_dead:10}"
    return f"{counts}{codebook.perplexity:13.1f}{100 * codebook.top_share:10.2f}{100 * codebook.repeat_rate:11.2f}"


def _spectrum_line(spectrum: SpectrumStats, num_read: int) -> str:
    mean = spectrum.sums.mean() / num_read
    zero = 100 * spectrum.num_zero / num_read
    return f"  {len(spectrum.sums)} bins, mean {mean:.4g}, max {spectrum.maxima.max():.4g}, {zero:.2f} % of the frames all zero"


def _warnings(stats: StoreStats) -> List[str]:
    found = []
    for number, codebook in enumerate(stats.codebooks):
        if codebook.collapsed:
            entries = len(codebook.counts)
            used = f"perplexity {codebook.perplexity:.1f}, {codebook.num_dead} of {entries} entries dead in {stats.num_read:,} frames"
            limits = f"usual: above {COLLAPSED_PERPLEXITY * entries:.0f}, at most {COLLAPSED_DEAD * entries:.0f} dead"
            found.append(f"  warning: {stats.folder.name} codebook {number} collapsed? {used} ({limits})")
    return found
