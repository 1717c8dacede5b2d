"""The pages: what stands in them, that they need nothing from outside, and that a browser shows them."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
from run_folders import LOG, line, train_record, valid_record

from mert_fairseq.errors import MertError
from mert_fairseq.report.comparison_page import write_comparison_page
from mert_fairseq.report.html import picture, table
from mert_fairseq.report.learning_curves import draw
from mert_fairseq.report.page_file import PageFile
from mert_fairseq.report.run import read_run
from mert_fairseq.report.run_page import write_run_page
from mert_fairseq.tasks.alarm_line import Alarm

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SECTIONS = ["Alarms", "What was learned", "Loss", "Accuracy per codebook", "Held-out spectrum", "Use of the codes", "Optimisation"]
SECTIONS += ["Speed", "Settings and versions"]
HOSTILE = '<script>document.title="harmed"</script>&"'


class Seen(HTMLParser):
    """Headings, texts, pictures and tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.texts, self.images, self.tags, self._within = [], [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self._within = tag
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attributes))

    def handle_data(self, data):
        self.texts.append(data)
        if self._within == "h2":
            self.headings.append(data)
        self._within = ""

    @property
    def text(self):
        return " ".join(self.texts)


def page_of(run_dir):
    """The page of a run as parsed; and its file."""
    run, file = read_run(run_dir), PageFile(run_dir / "report.html")
    write_run_page(run, file, None if run.learning is None else draw(run.learning))
    return Seen(file.path.read_text(encoding="utf-8")), file


@pytest.fixture
def undrawn(monkeypatch):
    """For tests of what a page says: its pictures are empty."""
    for name in ("draw_panels", "draw_spectra", "draw_usage"):
        monkeypatch.setattr(f"mert_fairseq.report.run_page.{name}", lambda *args, **options: b"PNG")
    monkeypatch.setattr("mert_fairseq.report.comparison_page.draw_panels", lambda *args, **options: b"PNG")
    monkeypatch.setitem(globals(), "draw", lambda learning: b"PNG")


@pytest.fixture
def run_dir(runs):
    folder = runs.make()
    runs.save_checkpoint(folder)
    return folder


def test_the_page_of_a_run(run_dir, undrawn):
    seen, file = page_of(run_dir)
    assert seen.headings == SECTIONS
    pictures = {"loss", "accuracy", "spectrum", "codes", "predictions", "optimisation", "speed"}
    assert {path.name for path in file.folder.iterdir()} == {f"{name}.png" for name in pictures}
    assert len(seen.images) == len(pictures) + 1  # and learning_curves.png
    for expected in ("None was raised.", "2.11.0", "model.dropout", "criterion.cqt_weight", "valid1.wav", "update 40 of 40, finished"):
        assert expected in seen.text
    assert not list(run_dir.rglob("*.part"))


def test_a_page_needs_nothing_from_outside(run_dir, undrawn):
    text = page_of(run_dir)[1].path.read_text(encoding="utf-8")
    seen = Seen(text)
    assert not {"script", "link", "iframe", "object"} & set(seen.tags) and not re.search(r"https?:|url\(|@import", text)
    assert all(image["src"].startswith("data:image/png;base64,") and image["alt"] for image in seen.images)


def test_alarms_stand_first(runs, undrawn):
    begun = Alarm(20, "collapsed_predictions", ("codebook 0", "codebook 1"), "perplexity 1.00; lower it")
    over = Alarm(40, "collapsed_predictions", ("codebook 0", "codebook 1"), over=True)
    still = Alarm(40, "loss_scale_collapse", ("training",), "loss scale 0.1")
    seen, _ = page_of(runs.make(log=[*LOG, *(line(alarm.line()) for alarm in (begun, over, still))]))
    assert "Update 20: collapsed predictions (codebooks 0, 1). " in seen.text and "perplexity 1.00; lower it" in seen.text
    assert "collapsed predictions is over" in seen.text and "loss scale collapse (training). Still on." in seen.text
    assert "None was raised." not in seen.text


def test_a_log_of_an_older_version_does_not_claim_that_all_is_well(runs, undrawn):
    seen, _ = page_of(runs.make(log=LOG[1:]))
    assert "a version of the package that raises none" in seen.text and "None was raised." not in seen.text


@pytest.mark.parametrize(
    "spoil, section, said",
    [
        ("checkpoints", "Held-out spectrum", "Not shown: {run}/checkpoints: no checkpoint_last.pt"),
        ("labels", "What was learned", "Not shown, for want of baselines: {parent}/labels/train.codes: no such folder of targets"),
        ("labels", "Use of the codes", "Predictions are not shown: {parent}/labels/valid.codes: no such folder of targets"),
        ("labels/train.codes", "Use of the codes", "Without the teacher's own: {parent}/labels/train.codes: no such folder"),
    ],
)
def test_what_is_missing_is_said_in_its_place_and_the_curves_stay(run_dir, undrawn, spoil, section, said):
    shutil.rmtree(run_dir / spoil if spoil == "checkpoints" else run_dir.parent / spoil)
    seen, file = page_of(run_dir)
    own = file.path.read_text(encoding="utf-8").partition(f"<h2>{section}</h2>")[2].partition("</section>")[0]
    assert said.format(run=run_dir, parent=run_dir.parent) in Seen(own).text
    assert (file.folder / "loss.png").is_file() and (file.folder / "speed.png").is_file() and seen.headings == SECTIONS


def test_a_run_before_its_first_validation(runs, undrawn):
    seen, _ = page_of(runs.make(log=LOG[:3], optimization__max_update=100))
    assert "update 20 of 100, running, or broken off" in seen.text and "no validation logged yet" in seen.text


def test_a_run_without_a_cqt_head(runs, undrawn):
    log = [line(train_record(10, loss_cqt_m=None)), line(valid_record(10, loss_cqt_m=None), "valid")]
    folder = runs.make(log=log, task__cqt_labels=None)
    runs.save_checkpoint(folder, audio_cqt_loss_m=False)
    assert "This run predicts no spectrum (model.audio_cqt_loss_m=false)." in page_of(folder)[0].text


def test_whatever_stands_in_a_run_is_text(runs, undrawn):
    alarm = Alarm(10, "loss_scale_collapse", ("training",), HOSTILE)
    log = [*LOG, line('versions {"torch": "<img src=x>"}'), line(alarm.line())]
    hostile = {"model__note": HOSTILE, "task__label_dir": f"/nowhere/{HOSTILE}"}
    folder = runs.make("<b>run", log=log, overrides=[f"model.note={HOSTILE}"], **hostile)
    seen, file = page_of(folder)
    assert not {"script", "b>run"} & set(seen.tags) and all(image["src"].startswith("data:") for image in seen.images)
    assert seen.text.count(HOSTILE) >= 3 and "<img src=x>" in seen.text
    other = PageFile(folder / "both.html")
    write_comparison_page([read_run(folder), read_run(runs.make())], other)
    compared = Seen(other.path.read_text(encoding="utf-8"))
    assert "script" not in compared.tags and HOSTILE in compared.text and "<b>run" in compared.text
    assert "&lt;" in table(["<"], [["<"]]) and '"<' not in picture(b"", '"<')


def test_a_page_of_two_runs(runs, undrawn):
    first, second = runs.make(), runs.make("second", log=LOG[:-1], model__dropout=0.3)
    file = PageFile(first.parent / "both.html")
    write_comparison_page([read_run(first), read_run(second)], file)
    seen = Seen(file.path.read_text(encoding="utf-8"))
    assert seen.headings == ["Final figures", "Settings that differ", "What was learned", "How they went", "Alarms"]
    assert "model.dropout" in seen.text and "model.final_dim" not in seen.text and len(seen.images) == 2
    assert {path.name for path in file.folder.iterdir()} == {"learning.png", "running.png"}


def test_a_page_that_cannot_be_written(tmp_path):
    with pytest.raises(MertError, match="nowhere/page.html: cannot be written .*; name another place with --page"):
        PageFile(tmp_path / "nowhere" / "page.html").write("x")


# In a browser.

BLOCKED = 'src="data:image/png;base64,AAAA"'  # a picture that is none


def browse(text, tmp_path):
    """(title, sections, pictures, pictures that show something) as a browser has them behind loading the page."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip(f"no browser among {', '.join(BROWSERS)}: apt-get install chromium")
    # The page forbids scripts; the copy that is looked at has one, and leave to run it.
    forbidden, allowed = (f"default-src &#x27;{source}&#x27;" for source in ("none", "unsafe-inline"))
    assert forbidden in text
    count = "[...document.images].filter(image => image.complete && image.naturalWidth > 0).length"
    told = f"[document.title, document.querySelectorAll('section').length, document.images.length, {count}].join('|')"
    script = f"<script>window.onload = () => {{ document.body.textContent = 'seen|' + {told}; }}</script>"
    looked_at = tmp_path / "looked_at.html"
    looked_at.write_text(text.replace(forbidden, allowed).replace("</head>", f"{script}</head>"))
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-gpu"]
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    command = [browser, "--headless", "--no-sandbox", *quiet, profile, "--virtual-time-budget=10000", "--dump-dom", looked_at.as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r"seen\|([^<]*)", result.stdout.partition("<body")[2])
    assert found, result.stderr[-2000:]
    title, *numbers = found[1].split("|")
    return title, *map(int, numbers)


def test_a_browser_shows_the_page(run_dir, tmp_path):
    """With one picture more, which is none: it would be seen if the page's own were not shown."""
    text = page_of(run_dir)[1].path.read_text(encoding="utf-8")
    spoiled = text.replace("</main>", f"<img {BLOCKED}></main>")
    assert browse(spoiled, tmp_path) == ("run: MERT pre-training", len(SECTIONS), 9, 8)
