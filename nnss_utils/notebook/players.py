"""Audio players for all notebooks: sounds side by side with their spectrograms, switched at one playing position.
Loudness changes only on request, by the same gain for all sounds, which is shown. Sounds travel as FLAC: players and
downloads have the sound at 16 bits, with its attacks and up to 20 kHz (a medium MP3 ends at 16 kHz). Pictures are
Matplotlib's Figures, never pyplot's, which would be blank in a callback (jupyterlab#19719)."""

import base64
import hashlib
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import soundfile
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from nnss_utils import SAMPLE_RATE
from nnss_utils.notebook import plots

BROWSER = Path(__file__).parent / "browser"  # what runs in the page
STYLE = BROWSER / "nnss.css"
LONGEST = 60.0  # s of sound in one player
SIZE, AXES = (5.6, 2.6), (0.12, 0.18, 0.86, 0.76)  # of a picture in inches, of its axes in parts of it


def flac(sound: np.ndarray, gain: float = 1.0) -> bytes:
    """Return a sound float (samples,) times `gain` as FLAC of 16 bits, clipped at +-1 as players do. An empty sound
    becomes one sample of silence, since players refuse an empty file."""
    buffer = io.BytesIO()
    part = np.clip(np.nan_to_num(np.asarray(sound, np.float32)) * np.float32(gain), -1, 1)
    soundfile.write(buffer, part if len(part) else np.zeros(1), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


class WithPicture:
    """A widget that a page without a kernel shows as a picture (PNG), the result of its method `still`."""

    def _repr_mimebundle_(self, **kwargs: object) -> tuple[dict, dict] | dict:
        bundle = super()._repr_mimebundle_(**kwargs)
        data, picture = bundle[0] if isinstance(bundle, tuple) else bundle, self.still()
        if data and picture:
            data["image/png"] = base64.b64encode(picture).decode()
        return bundle


class Pictured(WithPicture, ipywidgets.VBox):
    """Widgets below each other with a picture, which `still` returns."""

    def __init__(self, children: Sequence[ipywidgets.Widget], still: Callable[[], bytes]) -> None:
        """Show `children`."""
        super().__init__(children)
        self.still = still


class Comparison(WithPicture, anywidget.AnyWidget):
    """Sounds side by side with their spectrograms: one plays; a click on another switches to it without a gap. The
    parameters are those of `listen`; `show` gives it sounds."""

    _esm, _css = BROWSER / "comparison.js", STYLE
    columns = traitlets.List().tag(sync=True)  # {title, sound (FLAC), picture (PNG), file, key} of each sound
    seconds = traitlets.Float(0.0).tag(sync=True)  # of the longest sound
    axes = traitlets.List([AXES[0], AXES[0] + AXES[2]]).tag(sync=True)  # where time begins and ends in a picture
    note = traitlets.Unicode().tag(sync=True)
    files = traitlets.List().tag(sync=True)  # {name, type, data} of more downloads
    gain, scale, longest = traitlets.Float(1.0), traitlets.Unicode("log"), traitlets.Float(LONGEST)
    reference = traitlets.Unicode()

    def show(self, sounds: Mapping[str, np.ndarray]) -> "Comparison":
        """Show sounds (samples,) by their titles and return self; those that are shown already stay, playing or not."""
        cut = {title: np.asarray(sound)[: round(self.longest * SAMPLE_RATE)] for title, sound in sounds.items()}
        bright = [cut[self.reference]] if self.reference in cut else cut.values()
        brightest = plots.brightest_of([np.nan_to_num(sound) for sound in bright], self.scale)
        peak = peak_of(cut.values()) * self.gain
        notes = [f"loudness {20 * np.log10(self.gain):+.1f} dB for all"] if self.gain != 1 else []
        notes += [f"peak {peak:.1f}: clipped"] if peak > 1.005 else []
        with self.hold_sync():  # all at once
            self.seconds = max(map(len, cut.values()), default=0) / SAMPLE_RATE
            self.note = ", ".join(notes)
            self.columns = [self._column(title, sound, brightest) for title, sound in cut.items()]
        return self

    def _column(self, title: str, sound: np.ndarray, brightest: float) -> dict:
        """Return one sound as the page needs it; it is drawn again only if something has changed."""
        drawn = f"{title} {self.gain} {self.scale} {brightest:.5g} {self.seconds}".encode()
        key = hashlib.sha1(drawn + np.ascontiguousarray(sound).tobytes()).hexdigest()
        for column in self.columns:
            if column["key"] == key:
                return column
        file = "".join(c if c.isalnum() or c in "-." else "_" for c in title) + ".flac"
        picture = spectrogram_picture(sound, self.seconds, self.scale, brightest)
        return {"title": title, "sound": flac(sound, self.gain), "picture": picture, "file": file, "key": key}

    def still(self) -> bytes:
        """Return the pictures side by side as one PNG."""
        return side_by_side({column["title"]: column["picture"] for column in self.columns}) if self.columns else b""


def listen(
    sounds: Mapping[str, np.ndarray],
    gain: float | str = 1.0,
    scale: str = "log",
    longest: float = LONGEST,
    reference: str = "",
) -> Comparison:
    """Return players side by side of sounds float (samples,) by their titles, the first `longest` seconds of each.
    gain: of all sounds, or "peak": the gain that brings the loudest peak to 0.9. scale: the pictures' scale of
    frequency, "log" or "linear". reference: the title of the sound whose loudest moment has the brightest colour in all
    pictures; empty: the loudest sound."""
    if gain == "peak":
        gain = 0.9 / (peak_of(sounds.values()) or 0.9)
    return Comparison(gain=float(gain), scale=scale, longest=longest, reference=reference).show(sounds)


def peak_of(sounds: Iterable[np.ndarray]) -> float:
    """Return the largest absolute value of sounds (samples,); 0 without sounds."""
    return max((float(np.abs(sound).max(initial=0)) for sound in sounds), default=0.0)


def spectrogram_picture(sound: np.ndarray, seconds: float, scale: str, brightest: float) -> bytes:
    """Return a sound's spectrogram over `seconds` as the bytes of a PNG."""
    ax = picture_axes()
    plots.spectrogram(np.nan_to_num(sound), ax=ax, scale=scale, brightest=brightest)
    ax.set(xlim=(0, seconds or 1), facecolor="black")
    return plots.png(ax.figure)


def picture_axes() -> Axes:
    """Return the axes of a new picture, where the page expects them."""
    return Figure(figsize=SIZE, dpi=80).add_axes(AXES)


def side_by_side(pictures: Mapping[str, bytes]) -> bytes:
    """Return pictures (PNG) with their titles beside each other, two to three in a row, as one PNG."""
    opened = [Image.open(io.BytesIO(picture)).convert("RGB") for picture in pictures.values()]
    columns = min(len(opened), 3 if len(opened) not in (2, 4) else 2)
    width, height = opened[0].width, opened[0].height + 24
    sheet = Image.new("RGB", (columns * width, -(-len(opened) // columns) * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for i, (title, picture) in enumerate(zip(pictures, opened, strict=True)):
        x, y = i % columns * width, i // columns * height
        pen.text((x + AXES[0] * width, y + 4), title, "black", font)
        sheet.paste(picture, (x, y + 24))
    buffer = io.BytesIO()
    sheet.quantize(128).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
