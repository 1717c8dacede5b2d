"""What has to be said beside a run's scores: where they were had in another way than published ones, and what was heard in training."""

from typing import Dict, Iterable, List, Mapping

from mert_fairseq.probe.encoders import is_trained
from mert_fairseq.probe.grid import RATES, layer_name, make_grid
from mert_fairseq.probe.items import SPLITS
from mert_fairseq.probe.registry import TASKS
from mert_fairseq.probe.results import Results


class Footnotes:
    """Numbered notes of one table; the same note has the same number wherever it is needed."""

    def __init__(self) -> None:
        self._numbers: Dict[str, int] = {}

    def marks(self, results: Iterable[Results]) -> str:
        """What stands behind a score of these, " [1][3]"; "" where there is nothing to say."""
        texts = [note for own in results for note in notes_of(own)]
        numbers = sorted({self._numbers.setdefault(text, len(self._numbers) + 1) for text in texts})
        return " " * bool(numbers) + "".join(f"[{number}]" for number in numbers)

    @property
    def lines(self) -> List[str]:
        """The notes, in order."""
        return [f"- [{number}] {text}" for text, number in self._numbers.items()]


def notes_of(results: Results) -> List[str]:
    """Why a score is not to be held against published ones; nothing for tasks that are not of the 14, which have none."""
    if results.task not in TASKS:
        return []
    found = [*_options(results), *_counts(results), *_grid(results), *_overlap(results)]
    return [f"{results.task}: {text}" for text in found]


def heard_in_training(runs: Mapping[str, Mapping[str, Results]]) -> List[str]:
    """A line for each run: of which tasks test items were looked for in its encoder's training data, and found; or that there is none."""
    lines = []
    for name, run in runs.items():
        own = [results for task, results in run.items() if task in TASKS]
        if own and not any(is_trained(results.encoder.get("name", "")) for results in own):
            lines.append(f"- {name}, test items in the training data of its encoder: none, it was not trained")
        trained = [results for task, results in run.items() if task in TASKS and is_trained(results.encoder.get("name", ""))]
        looked = [f"{own.task} {len(own.overlap['items'])} of {own.overlap['test_items']}" for own in trained if own.overlap]
        left = [own.task for own in trained if not own.overlap]
        parts = [f"found {', '.join(looked)}"] * bool(looked) + [f"not looked for {', '.join(left)} (--pretrained-on)"] * bool(left)
        if parts:
            lines.append(f"- {name}, test items in the training data of its encoder: {'; '.join(parts)}")
    return lines


def _options(results: Results) -> List[str]:
    given = results.settings.get("options") or {}
    default = TASKS[results.task].settings()
    other = [f"{name}={given[name]} for {value}" for name, value in default.items() if given.get(name, value) != value]
    return [f"--option {', '.join(other)}"] if other else []


def _counts(results: Results) -> List[str]:
    """Counts that --any-counts let pass."""
    expected = TASKS[results.task].expected(results.settings.get("options"))
    items = results.data.get("items") or {}
    if not results.settings.get("any_counts") or not expected or items == expected:
        return []
    own, published = (", ".join(f"{counts.get(split, 0):,}" for split in SPLITS) for counts in (items, expected))
    return [f"--any-counts: {own} items of train, valid and test, {published} are published"]


def _grid(results: Results) -> List[str]:
    """Layers and rates that were left out."""
    settings = results.settings
    if "separation" in settings:
        layer = settings["separation"].get("layer")
        return [] if layer is None else [f"--layers {layer} for the sum of all"]
    if "layers" not in settings or "rates" not in settings:
        return []
    num_layers = results.encoder.get("num_layers", 0)
    every = list(dict.fromkeys(layer_name(point.layer) for point in make_grid(num_layers)))
    found = []
    if set(settings["layers"]) != set(every):
        found.append(f"--layers {' '.join(settings['layers'])}: {len(settings['layers'])} of {len(every)} layers")
    if set(settings["rates"]) != set(RATES):
        rates = settings["rates"]
        found.append(f"--rates {' '.join(f'{rate:g}' for rate in rates)}: {len(set(rates) & set(RATES))} of the {len(RATES)} rates")
    return [", ".join(found)] if found else []


def _overlap(results: Results) -> List[str]:
    if not results.overlap or not results.overlap["items"]:
        return []
    return [f"{len(results.overlap['items']):,} of {results.overlap['test_items']:,} test items are in the training data of the encoder"]
