"""What papermill and nbval cannot see: real pages in a real browser, their sounds decoded, their pictures counted.

JupyterLab and Voila are started on loopback with a token. Screenshots are kept in build/screenshots; those of the
README are copies.
"""

import dataclasses
import io
import shlex
import subprocess
import time
import urllib.error
import urllib.request

import mido
import numpy as np
import papermill
import pytest
import soundfile
from browser import (
    CHROMIUM,
    FLAGS,
    IDLE,
    ROOT,
    SHOTS,
    Errors,
    blob,
    colours,
    kernels_of,
    new_token,
    picture_of,
    serving,
    shoot,
    sound_of,
)
from prepare_notebooks import fast_parameters

from nnss_utils.midi import Note, read_midi, write_midi
from nnss_utils.model.model_file import load_model, save_model
from nnss_utils.paths import PRETRAINED, read_json, write_json

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]


@pytest.fixture(scope="module")
def chromium():
    """A browser without a screen."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a folder with the notebooks, their fast parameters injected: (address, token)."""
    home, token = tmp_path_factory.mktemp("lab"), new_token()
    folder = home / "notebooks"
    folder.mkdir()
    for stem in ("03_normalization_comparison", "05_train", "10_play"):
        source = ROOT / "notebooks" / f"{stem}.ipynb"
        papermill.execute_notebook(
            source, folder / f"{stem}.ipynb", fast_parameters()[stem], prepare_only=True, progress_bar=False
        )
    command = ["jupyterlab", "--no-browser", "--ip=127.0.0.1", "--allow-root", f"--IdentityProvider.token={token}"]
    with serving([*command, f"--ServerApp.root_dir={folder}"], home, "/api", token) as address:
        yield address, token


def save_variant(path) -> None:
    """Write a model that differs from the shipped one by its normalization power: it sounds, but not like a piano."""
    shipped = load_model(str(PRETRAINED))
    training = dataclasses.replace(shipped.settings.training, power=0.45)
    settings = dataclasses.replace(shipped.settings, name="variant", training=training)
    path.parent.mkdir(parents=True)
    save_model(path, dataclasses.replace(shipped, settings=settings))


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """What `make app` serves: (address, token)."""
    home, token = tmp_path_factory.mktemp("app"), new_token()
    save_variant(home / "data" / "runs" / "variant" / "model.keras")
    make = ["make", "--no-print-directory", "-n", "-o", ".venv/.ready", "app"]  # also where `make test` runs this
    recipe = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True)
    words = shlex.split(recipe.stdout.splitlines()[-1])
    assert words[0] == ".venv/bin/voila" and words[2] == "--token" and "--Voila.ip=127.0.0.1" in words
    command = ["voila", str(ROOT / words[1]), f"--token={token}", "--no-browser", *words[3:]]
    with serving(command, home, "/voila/static/voila.js", token) as address:
        yield address, token


def run_all(browser, lab, stem: str, shown: str, script: str = ""):
    """Open a notebook in JupyterLab, run all of its cells, and return its page and what goes wrong in it.

    shown: a selector of what must appear; script: what the page runs before all else.
    """
    address, token = lab
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.add_init_script(script)
    errors = Errors(page)
    for attempt in (1, 2):  # about one launch in seven never shows its widgets
        page.goto(f"{address}/lab/tree/{stem}.ipynb?token={token}&reset")
        page.wait_for_selector(IDLE, timeout=60_000)
        page.click('.lm-MenuBar-itemLabel:text-is("Run")')
        page.click('.lm-Menu-itemLabel:text-is("Run All Cells")')
        try:
            page.wait_for_selector(shown, timeout=120_000)
            break
        except Exception:
            if attempt == 2:
                shoot(page, f"failed_{stem}")
                raise
    page.wait_for_function("document.querySelectorAll('.jp-InputArea-prompt').length > 3")
    page.wait_for_function(
        "[...document.querySelectorAll('.jp-InputPrompt')].every(prompt => !prompt.textContent.includes('*'))",
        timeout=240_000,
    )
    page.wait_for_selector(IDLE, timeout=60_000)
    assert not page.locator('.jp-OutputArea-output[data-mime-type="application/vnd.jupyter.error"]').count()
    return page, errors


def keep_figures(name: str, milliseconds: list[float]) -> None:
    """Keep what was measured as an artefact: machines differ, so no test depends on it."""
    assert np.isfinite(milliseconds).all() and min(milliseconds) > 0
    path = SHOTS / "figures.json"
    kept = read_json(path) if path.is_file() else {}
    write_json(path, kept | {name: [round(ms, 1) for ms in milliseconds]})


def changed(page, element, attribute: str, before: str) -> None:
    """Wait until an element's attribute is another one."""
    page.wait_for_function(
        "([element, name, before]) => element.getAttribute(name) !== before",
        arg=[element.element_handle(), attribute, before],
        timeout=10_000,
    )


def loudness(sound: np.ndarray) -> float:
    return float(np.sqrt(np.mean(sound**2)))


def test_the_normalization_slider_changes_sound_and_picture(chromium, lab):
    page, errors = run_all(chromium, lab, "03_normalization_comparison", ".widget-slider .noUi-handle")
    box = page.locator('.nnss-comparison:has([data-title="with the error"])')
    box.scroll_into_view_if_needed()
    original, result = (box.locator(f'[data-title="{title}"]') for title in ("original", "with the error"))
    sounds = {name: column.locator("audio") for name, column in (("original", original), ("result", result))}
    pictures = {name: column.locator("img") for name, column in (("original", original), ("result", result))}
    handles = page.locator(".widget-slider .noUi-handle")
    seen, answers = set(), []
    for handle, times in ((handles.nth(0), 2), (handles.nth(1), 1)):
        for _ in range(times):
            before = {name: element.get_attribute("src") for name, element in [*sounds.items()]}
            shown = pictures["result"].get_attribute("src")
            begun = page.evaluate("performance.now()")
            handle.focus()
            page.keyboard.press("ArrowRight")
            changed(page, sounds["result"], "src", before["result"])
            changed(page, pictures["result"], "src", shown)
            answers.append(page.evaluate("performance.now()") - begun)
            assert sounds["original"].get_attribute("src") == before["original"]  # what is alike stays
            heard = sound_of(page, sounds["result"])
            assert loudness(heard) > 1e-3 and np.isfinite(heard).all()
            assert colours(picture_of(page, pictures["result"])) > 50
            seen.add((heard.tobytes(), picture_of(page, pictures["result"])))
    assert len(seen) == 3
    keep_figures("slider_ms", answers)
    assert loudness(sound_of(page, sounds["original"])) > 1e-3
    shoot(page, "03_slider")
    check_switching(page, box, "original", "with the error")
    check_going_on(page, box, handles.nth(1))
    assert errors.said == []
    page.close()


def check_going_on(page, box, handle) -> None:
    """Move a slider while its result plays: the new sound goes on where the old one was."""
    box.locator('button[aria-label="play with the error"]').click()
    page.wait_for_function("element => element.dataset.playing === 'with the error'", arg=box.element_handle())
    updates = int(box.get_attribute("data-updates"))
    before = float(box.get_attribute("data-position"))
    handle.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("([e, n]) => Number(e.dataset.updates) > n", arg=[box.element_handle(), updates])
    assert box.get_attribute("data-playing") == "with the error"
    assert before <= float(box.get_attribute("data-position")) < before + 3
    box.locator('button[aria-label="play with the error"]').click()
    page.wait_for_function("element => element.dataset.playing === ''", arg=box.element_handle())


def check_switching(page, box, first: str, second: str) -> None:
    """Play one sound, switch to the other and back: the position goes on; seek, pause, download."""
    state = lambda name: box.evaluate("(element, name) => element.dataset[name]", name)  # noqa: E731
    box.locator(f'button[aria-label="play {first}"]').click()
    page.wait_for_function("element => Number(element.dataset.position) > 0.2", arg=box.element_handle())
    assert state("playing") == first
    before = float(state("position"))
    box.locator(f'button[aria-label="play {second}"]').click()
    page.wait_for_function("([e, name]) => e.dataset.playing === name", arg=[box.element_handle(), second])
    after = float(state("position"))
    assert before <= after < before + 2  # not from the beginning
    picture = box.locator(f'[data-title="{first}"] .nnss-picture')
    size = picture.bounding_box()
    picture.click(position={"x": size["width"] * 0.15, "y": size["height"] / 2})  # near the beginning
    page.wait_for_function("([e, name]) => e.dataset.playing === name", arg=[box.element_handle(), first])
    page.keyboard.press("2")
    page.wait_for_function("([e, name]) => e.dataset.playing === name", arg=[box.element_handle(), second])
    page.keyboard.press(" ")
    page.wait_for_function("e => e.dataset.playing === ''", arg=box.element_handle())
    link = box.locator(f'[data-title="{first}"] a')
    assert link.get_attribute("download").endswith(".flac")
    assert loudness(soundfile.read(io.BytesIO(blob(page, link.get_attribute("href"))))[0]) > 1e-3


def state_of(piano) -> dict:
    return piano.evaluate("element => ({...element.dataset})")


def strike(page, piano, pitch: int, held: int = 300) -> dict:
    """Click on a key and wait until it has sounded; return what the piano then says of itself."""
    before = int(state_of(piano).get("sounds", 0))
    key = piano.locator(f'[data-pitch="{pitch}"]').bounding_box()
    page.mouse.move(key["x"] + key["width"] / 2, key["y"] + key["height"] - 8)
    page.mouse.down()
    page.wait_for_function("([e, n]) => Number(e.dataset.sounds) > n", arg=[piano.element_handle(), before])
    page.wait_for_timeout(held)
    assert str(pitch) in state_of(piano)["sounding"].split()
    page.mouse.up()
    return state_of(piano)


def play_the_piano(page) -> list[float]:
    """Click and type on the piano of a page, and return the latencies in ms."""
    piano = page.locator(".nnss-piano")
    piano.scroll_into_view_if_needed()
    page.wait_for_selector(".nnss-piano[data-prepared]", timeout=30_000)
    cells = page.locator(".jp-Cell").count()
    latencies = [float(strike(page, piano, pitch)["latency"]) for pitch in (60, 64, 67, 72)]
    for key, pitch in (("a", 60), ("d", 64), ("d", 64)):  # "d d" would delete a cell, "a" would make one
        before = int(state_of(piano)["sounds"])
        page.keyboard.down(key)
        page.wait_for_function("([e, n]) => Number(e.dataset.sounds) > n", arg=[piano.element_handle(), before])
        assert state_of(piano)["sounding"] == str(pitch)
        latencies.append(float(state_of(piano)["latency"]))
        page.keyboard.up(key)
        assert state_of(piano)["sounding"] == ""
    page.keyboard.down(" ")
    strike(page, piano, 62, held=100)
    assert state_of(piano)["sounding"] == "62"  # the pedal holds it
    page.keyboard.up(" ")
    page.wait_for_function("e => e.dataset.sounding === ''", arg=piano.element_handle())
    assert int(state_of(piano)["pieces"]) >= 8  # of sound that is not silence
    assert page.locator(".jp-Cell").count() == cells
    return latencies


FAKE_MIDI = """navigator.requestMIDIAccess = async () =>
    (window.fakeMidi = { inputs: new Map([["1", { name: "fake keyboard" }]]), onstatechange: null });"""


def play_a_midi_keyboard(page) -> None:
    """Strike a key of a MIDI keyboard (FAKE_MIDI) with its pedal down, and let both go."""
    piano = page.locator(".nnss-piano")
    piano.get_by_role("button", name="MIDI keyboard").click()
    page.wait_for_function("() => document.querySelector('.nnss-message').textContent.includes('fake keyboard')")
    send = "data => fakeMidi.inputs.get('1').onmidimessage({ data, timeStamp: performance.now() })"
    before = int(state_of(piano)["sounds"])
    page.evaluate(send, [0xB0, 64, 127])
    page.evaluate(send, [0x90, 70, 33])
    page.wait_for_function("([e, n]) => Number(e.dataset.sounds) > n", arg=[piano.element_handle(), before])
    page.evaluate(send, [0x90, 70, 0])
    page.wait_for_timeout(200)
    assert state_of(piano)["sounding"] == "70"
    page.evaluate(send, [0xB0, 64, 0])
    page.wait_for_function("e => e.dataset.sounding === ''", arg=piano.element_handle())


def upload(page, file, says: str) -> None:
    """Give a file to the page and wait for what it says of it."""
    page.locator('.nnss-drop input[type="file"]').set_input_files(file)
    page.wait_for_function(
        "says => document.querySelector('.nnss-piece-message').textContent.includes(says)", arg=says, timeout=60_000
    )


def check_piece(page, file, says: str) -> None:
    """Give a MIDI file to the page, and see and hear it."""
    box = page.locator('.nnss-comparison:has([data-title="prediction (network)"])')
    audio, image = box.locator("audio").first, box.locator("img").first
    roll = page.locator("img.nnss-roll, .nnss-roll img").first
    before = [audio.get_attribute("src"), image.get_attribute("src"), roll.get_attribute("src")]
    upload(page, file, says)
    for element, was in zip((audio, image, roll), before, strict=True):
        changed(page, element, "src", was)
    prediction, target = (sound_of(page, each) for each in box.locator("audio").all())
    assert len(prediction) == len(target) and loudness(prediction) > 1e-3
    assert np.corrcoef(prediction, target)[0, 1] > 0.99
    assert all(colours(picture_of(page, each)) > 50 for each in box.locator("img").all())
    assert colours(blob(page, roll.get_attribute("src"))) > 10


def show_all(page) -> None:
    """Keep a picture of the whole page, a chord held on its piano."""
    page.set_viewport_size({"width": 1200, "height": 1760})
    page.locator(".nnss-piano").focus()
    for key in "adg":
        page.keyboard.down(key)
    page.wait_for_timeout(500)
    shoot(page, "10_app")
    for key in "adg":
        page.keyboard.up(key)
    page.set_viewport_size({"width": 1300, "height": 1000})


def another_power(page) -> None:
    """Choose another normalization power: the piece that is shown and the piano sound by its network."""
    audio = page.locator('[data-title="prediction (network)"] audio')
    before, src = sound_of(page, audio), audio.get_attribute("src")
    page.get_by_label("power").select_option(label="0.45")
    changed(page, audio, "src", src)
    assert np.abs(sound_of(page, audio) - before).max() > 0.01
    strike(page, page.locator(".nnss-piano"), 60)
    src = audio.get_attribute("src")
    page.get_by_label("power").select_option(label="1/2")
    changed(page, audio, "src", src)


def keep_playing_while_a_piece_is_made(page, folder) -> None:
    """Drop a piece of many voices (by the mouse, not the button), play the piano meanwhile, and stop it."""
    notes = [Note(0.1 * i, 0.1 * i + 2, 30 + i % 60, 1 + i % 127) for i in range(3000)]
    content = write_midi(folder / "many.mid", notes).read_bytes()
    drop = """(place, bytes) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "many.mid"));
        place.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    page.locator(".nnss-drop").evaluate(drop, list(content))
    page.wait_for_function(
        "() => document.querySelector('.nnss-piece-message').textContent.startsWith('many.mid: 3000')"
    )
    bar = page.locator(".progress-bar, .widget-hprogress .progress-bar").first
    page.wait_for_function("bar => parseFloat(bar.style.width) > 0", arg=bar.element_handle(), timeout=30_000)
    print(
        "ms while a piece is made:",
        [round(float(strike(page, page.locator(".nnss-piano"), p)["latency"])) for p in (55, 59)],
    )
    page.get_by_role("button", name="stop", exact=True).last.click()
    page.wait_for_function(
        "() => document.querySelector('.nnss-piece-message').textContent === 'stopped'", timeout=30_000
    )


def record(page) -> None:
    """Record two keys and look into what is kept."""
    piano = page.locator(".nnss-piano")
    page.get_by_role("button", name="record").click()
    page.wait_for_timeout(300)
    strike(page, piano, 65, held=400)
    strike(page, piano, 69, held=200)
    page.get_by_role("button", name="stop", exact=True).first.click()
    said = "() => document.querySelector('.nnss-record-message').textContent.includes('2 notes kept')"
    page.wait_for_function(said, timeout=30_000)
    midi, wav = (page.locator(f'a[download="played.{kind}"]') for kind in ("mid", "wav"))
    page.wait_for_function("() => document.querySelector('a[download=\"played.wav\"]')")
    song = mido.MidiFile(file=io.BytesIO(blob(page, midi.get_attribute("href"))))
    assert [m.note for m in song if m.type == "note_on" and m.velocity] == [65, 69]
    sound, rate = soundfile.read(io.BytesIO(blob(page, wav.get_attribute("href"))))
    assert rate == 44100 and 0.6 < len(sound) / rate < 10 and loudness(sound) > 1e-4


def small_piece(path) -> object:
    return write_midi(path, [Note(0.25 * i, 0.25 * i + 0.4, pitch) for i, pitch in enumerate((60, 67, 64, 72))])


def test_the_piano_plays_in_jupyterlab(chromium, lab, tmp_path):
    page, errors = run_all(chromium, lab, "10_play", ".nnss-piano")
    latencies = play_the_piano(page)
    keep_figures("piano_in_jupyterlab_ms", latencies)
    shoot(page, "10_piano")
    check_piece(page, small_piece(tmp_path / "small.mid"), "small.mid: 4 notes")
    box = page.locator('.nnss-comparison:has([data-title="prediction (network)"])')
    box.scroll_into_view_if_needed()
    shoot(page, "10_piece")
    check_switching(page, box, "prediction (network)", "target (instrument)")
    record(page)
    assert errors.said == []
    page.close()


WATCH_PICTURES = """window.seen = new Set();
setInterval(() => document.querySelectorAll("img.widget-image").forEach((image) => window.seen.add(image.src)), 50);"""


def test_training_shows_its_loss_and_the_piece_that_fills_in(chromium, lab):
    page, errors = run_all(chromium, lab, "05_train", "img.widget-image, .nnss-comparison", WATCH_PICTURES)
    image = page.locator("img.widget-image").first
    image.scroll_into_view_if_needed()
    assert colours(picture_of(page, image)) > 50
    assert page.evaluate("window.seen.size") >= 2  # drawn anew while it was trained
    shoot(page, "05_training")
    assert errors.said == []
    page.close()


def test_the_app_plays_and_survives_whatever_is_dropped_on_it(chromium, app, tmp_path):
    address, token = app
    page = chromium.new_page(viewport={"width": 1300, "height": 1000})
    page.add_init_script(FAKE_MIDI)
    errors = Errors(page)
    page.goto(f"{address}/?token={token}", timeout=120_000)
    page.wait_for_selector(".nnss-piano", timeout=120_000)
    assert "App(" not in page.content() and "import" not in page.inner_text("body")  # no code
    keep_figures("piano_in_app_ms", play_the_piano(page))
    show_all(page)
    play_a_midi_keyboard(page)
    check_piece(page, small_piece(tmp_path / "small.mid"), "small.mid: 4 notes")
    bad = tmp_path / "text.mid"
    bad.write_text("no music <b>here</b>")
    upload(page, bad, "text.mid is not a readable MIDI file")
    huge = tmp_path / "huge.mid"
    with huge.open("wb") as file:
        file.truncate(50_000_000)
    upload(page, huge, "huge.mid has 50.0 MB; give a MIDI file of at most 0.9 MB")
    long = write_midi(tmp_path / "long.mid", [Note(10.0 * i, 10.0 * i + 1, 60) for i in range(1080)])
    upload(page, long, "180 minutes of music: this page renders at most 10")
    crowd = mido.MidiFile(type=1)
    for _ in range(100):
        on = [mido.Message("note_on", note=note, velocity=64) for note in range(10, 110)]
        crowd.tracks.append(mido.MidiTrack([*on, mido.Message("note_off", note=10, time=480)]))
    crowd.save(tmp_path / "crowd.mid")
    assert len(read_midi(tmp_path / "crowd.mid")) == 10_000
    upload(page, tmp_path / "crowd.mid", "10000 notes sound at once: this page renders at most 128")
    low = write_midi(tmp_path / "low.mid", [Note(0, 1, 5)])
    upload(page, low, "note of pitch 5")
    strike(page, page.locator(".nnss-piano"), 60)  # alive
    another_power(page)
    keep_playing_while_a_piece_is_made(page, tmp_path)
    check_piece(page, write_midi(tmp_path / "other.mid", [Note(0, 1, 50)]), "other.mid: 1 notes")
    record(page)
    assert errors.said == []
    page.close()


def test_a_page_says_that_its_kernel_is_gone_and_none_stays_behind(chromium, app):
    address, token = app
    page = chromium.new_page()
    page.goto(f"{address}/?token={token}", timeout=120_000)
    page.wait_for_selector(".nnss-piano", timeout=120_000)
    line = page.locator(".nnss-gone")
    assert line.count() == 1 and line.is_hidden()
    for kernel in kernels_of(token):
        kernel.kill()
    line.wait_for(state="visible", timeout=40_000)
    assert "reload the page" in line.inner_text()
    page.reload(timeout=120_000)
    page.wait_for_selector(".nnss-piano", timeout=120_000)
    strike(page, page.locator(".nnss-piano"), 60)
    page.close()
    for _ in range(60):  # 20 s after the last message, on a machine that is busy
        if not kernels_of(token):
            break
        time.sleep(1)
    assert kernels_of(token) == []


def test_the_app_gives_no_files_and_asks_for_its_token(app):
    address, token = app
    for path in ("/voila/files/10_play.ipynb", "/voila/files/05_train.ipynb", "/voila/files/../README.md",
                 "/files/README.md", "/api/contents", "/api/kernels", "/api/terminals", "/voila/tree"):  # fmt: skip
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}{path}?token={token}", timeout=30)
        assert refused.value.code in (403, 404), path
    try:
        answer = urllib.request.urlopen(address, timeout=30)
        assert "/login" in answer.url and b"nnss" not in answer.read()
    except urllib.error.HTTPError as refused:
        assert refused.code in (401, 403)
