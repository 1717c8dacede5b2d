"""One row per task: how its data is read, heard, predicted and scored. `registry.py` has the rows."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, Mapping, Optional, Tuple, Union

from mert_fairseq.errors import MertError
from mert_fairseq.probe.items import TaskData

#: What is predicted: one of C classes, C tags, R values, frames with beats, or spectrograms of stems.
KINDS = ("classes", "tags", "values", "beats", "stems")


@dataclass(frozen=True)
class Hearing:
    """How an item's audio is cut for the encoder: windows of one length without overlap, each averaged over time.

    Attributes:
        window_s: seconds per window; an item that is shorter is one window.
        least_s: a last window shorter than this is left out, unless it is the only one.
        first_s: seconds of an item that are heard at all; None: all.
    """

    window_s: float = 30.0
    least_s: float = 1.0
    first_s: Optional[float] = None


@dataclass(frozen=True)
class HeadSettings:
    """Training of a head (facts: Adam without weight decay, rate halved on a plateau, the best validation is tested).

    Attributes:
        epochs: at most.
        patience: epochs without a better validation until it ends.
        plateau: epochs without one until the rate is halved.
        standardized: features are given to the head with mean 0 and deviation 1 in each dimension over the training windows;
            the published protocol gives them as they are.
    """

    epochs: int = 100
    patience: int = 20
    plateau: int = 5
    batch: int = 64
    hidden: int = 512
    dropout: float = 0.2
    standardized: bool = False


@dataclass(frozen=True)
class Dataset:
    """Where a dataset comes from.

    Attributes:
        name: also the folder's usual name.
        licence, size, where: for `mert probe --list`.
        layout: the tree that is expected under --data, a few lines.
    """

    name: str
    licence: str
    size: str
    where: str
    layout: str

    def folder(self, data: Path) -> Path:
        """The folder of the dataset's name in `data`, or `data` itself; raises MertError if there is no such folder."""
        if not data.is_dir():
            raise MertError(f"{data}: no such folder; get {self.name} from {self.where}")
        return data / self.name if (data / self.name).is_dir() else data


Value = Union[str, float, bool]


@dataclass(frozen=True)
class Option:
    """A point where sources disagree and the number changes; the first value is what is done unless another is asked for.

    Attributes:
        name: `--option NAME=VALUE`.
        values: the allowed ones.
        about: what each is and whose it is, one sentence.
        of: "data": a keyword of the task's `read`; "hearing": picks one of `hearings`; "score": of how outputs are scored;
            "head": of the head and its training.
        hearings: value -> how audio is cut, for "hearing".
        counts: value -> items per split that are known for it; where it has none, counts are not checked.
    """

    name: str
    values: Tuple[Value, ...]
    about: str
    of: str
    hearings: Mapping[Value, Hearing] = field(default_factory=dict)
    counts: Mapping[Value, Dict[str, int]] = field(default_factory=dict)

    def value(self, given: Value) -> Value:
        """The allowed value that is meant by `given`, as text from the command line or as it is; raises MertError if none is."""
        for value in self.values:
            if value == given or str(value).lower() == str(given).lower():
                return value
        raise MertError(f"option {self.name}={given}: one of {', '.join(map(str, self.values))} allowed ({self.about})")


@dataclass(frozen=True)
class Task:
    """One of the 14.

    Attributes:
        name: as in the published tables, e.g. "GTZANBT".
        kind: one of KINDS.
        read: the dataset's folder (and options of "data") -> items; raises MertError naming the file and what mends it.
        counts: items per split that the published protocol has; empty where no source tells them.
        metrics: names of its scores, in the order of the table; the task's own score is their mean.
        monitor: the figure that validation is judged by, one of the names in metrics.py; higher is better.
        hearing: how audio is cut.
        head: how heads are trained.
        choices: points where paper and code disagree, and what is done here, one sentence each.
        options: those of them where the other reading can be asked for.
        splits: how train, valid and test are told apart, and which columns say so; "" where the layout's files do.
        untested: classes that no test item has, in the complete data as published.
        seconds: shortest and longest recording that is plausible; beyond it the check warns.
    """

    name: str
    title: str
    dataset: Dataset
    kind: str
    read: Callable[..., TaskData]
    counts: Dict[str, int]
    metrics: Tuple[str, ...]
    monitor: str
    hearing: Hearing = Hearing()
    head: HeadSettings = HeadSettings()
    choices: Tuple[str, ...] = field(default_factory=tuple)
    options: Tuple[Option, ...] = ()
    splits: str = ""
    untested: Tuple[str, ...] = ()
    seconds: Tuple[float, float] = (0.1, 3600.0)

    def settings(self, given: Optional[Mapping[str, Value]] = None) -> Dict[str, Value]:
        """Value of every option, those of `given` and else the first; raises MertError for an unknown name or value."""
        chosen = {option.name: option.values[0] for option in self.options}
        for name, value in (given or {}).items():
            option = next((option for option in self.options if option.name == name), None)
            if option is None:
                known = ", ".join(chosen) if chosen else "none"
                raise MertError(f"option {name}={value}: {self.name} has no such option; it has {known}")
            chosen[name] = option.value(value)
        return chosen

    def load(self, data: Path, given: Optional[Mapping[str, Value]] = None) -> TaskData:
        """The items, read with the options that concern data.

        Args:
            data: the dataset's folder, or one that holds it under its name.
        """
        return self.read(self.dataset.folder(data), **self.settings_of("data", given))

    def settings_of(self, part: str, given: Optional[Mapping[str, Value]] = None) -> Dict[str, Value]:
        """The options of one part: "data", "hearing", "score" or "head"."""
        settings = self.settings(given)
        return {option.name: settings[option.name] for option in self.options if option.of == part}

    def heard(self, given: Optional[Mapping[str, Value]] = None) -> Hearing:
        """How audio is cut under these options."""
        settings = self.settings(given)
        picked = [option.hearings[settings[option.name]] for option in self.options if option.of == "hearing"]
        return picked[0] if picked else self.hearing

    def expected(self, given: Optional[Mapping[str, Value]] = None) -> Dict[str, int]:
        """Items per split under these options; empty where no source tells them."""
        settings = self.settings(given)
        for option in self.options:
            if option.of == "data" and settings[option.name] != option.values[0]:
                return option.counts.get(settings[option.name], {})
        return self.counts
