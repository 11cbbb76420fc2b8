"""The modes of a key: measured on sounds whose modes are known, and their frames against the closed form."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnss_utils import SAMPLE_RATE
from nnss_utils.dsp.stft import Spectral, stft, window_samples
from nnss_utils.instruments.modes import (
    MODES,
    RUMBLE,
    carried_modes,
    lend_modes,
    measure_modes,
    strongest_peaks,
    tuned_between,
    with_partials,
)
from nnss_utils.instruments.tuning import Tuning, estimate_tuning, partial_frequencies
from nnss_utils.midi import Note, midi_to_hz, samples_of
from nnss_utils.model import missing_keys
from nnss_utils.model.backend import ops
from nnss_utils.model.codification import Codification, release_fade
from nnss_utils.model.forward import mode_frames
from nnss_utils.model.inputs import Heard, Voices, make_table, voice_inputs
from nnss_utils.model.missing_keys import between, borrow_keys, partial_levels, with_all_keys
from nnss_utils.model.model_file import load_model, save_model
from nnss_utils.model.modes import ModeTable, tone_frames, typical_decay
from nnss_utils.model.settings import build_network, make_settings
from nnss_utils.model.time_basis import ATTACK, FEATURES, SINCE_ON
from nnss_utils.scores import scale_sequence
from nnss_utils.synthesis.render import render

T = np.arange(12 * SAMPLE_RATE) / SAMPLE_RATE


def ringing(*modes: tuple[float, float, float]) -> np.ndarray:
    """Return the sum of modes (Hz, amplitude, decay in s)."""
    return sum(a * np.exp(-T / decay) * np.sin(2 * np.pi * f * T) for f, a, decay in modes)


def test_modes_are_found_also_pairs_and_those_that_decay_soon():
    modes = [(220.0, 1.0, 4.0), (221.2, 0.5, 4.0), (441.3, 0.3, 3.0), (95.0, 0.2, 0.1), (3000.5, 0.05, 0.5)]
    found = strongest_peaks(ringing(*modes))
    for f, _, decay in modes:
        assert min(abs(np.array(found) - f)) < (3.0 if decay < 0.2 else 0.15)
    assert len(found) <= MODES and strongest_peaks(np.zeros(1000)) == []


def test_partials_fill_up_what_peaks_leave():
    partials = 100.0 * np.arange(1, 200)
    modes = with_partials([100.4, 250.0, 300.1], partials)
    assert len(modes) == MODES and modes[:3].tolist() == [100.4, 250.0, 300.1]
    assert 200.0 in modes and 100.0 not in modes and 300.0 not in modes
    assert with_partials([], partials)[:2].tolist() == [100.0, 200.0]


@pytest.mark.parametrize(
    "f0, peaks, carried",
    [(100.0, [100.4], True), (36.7, [73.5], False), (100.0, [30.5, 100.4], False), (27.5, [55.1], False)],
)
def test_rumble_has_a_carrier_where_no_peak_or_partial_is_one(f0, peaks, carried):
    lowest, carrier, highest = RUMBLE
    modes = with_partials(peaks, f0 * np.arange(1, 100))
    assert (carrier in modes) == carried and np.any((modes > lowest) & (modes < highest))


def test_a_key_without_a_note_has_its_neighbours_partials_transposed_and_its_other_modes():
    sound = 0.1 * ringing((261.6, 1.0, 3.0), (523.9, 0.5, 2.0), (400.0, 0.1, 2.0)).astype(np.float32)
    notes = [Note(0.0, 11.5, 60)]
    tuning = measure_modes(sound, notes, estimate_tuning(sound, notes, 60, 62))
    ratio = tuning.f0[2] / tuning.f0[0]
    assert ratio == pytest.approx(2 ** (2 / 12), rel=0.01) and len(tuning.modes[2]) == len(tuning.modes[0])
    np.testing.assert_allclose(tuning.modes[2], np.sort(carried_modes(np.array(tuning.modes[0]), tuning, 60, 62)))
    for mode in (261.6 * ratio, 523.9 * ratio, 400.0, RUMBLE[1]):
        assert min(abs(np.array(tuning.modes[2]) - mode)) < 0.002 * mode


def test_frames_are_the_closed_form():
    rng = np.random.default_rng(0)
    spectral, frequencies = Spectral(512, 128), tuple(np.sort(rng.uniform(50, 15_000, 7)))
    table = ModeTable(Tuning(60, (261.6,), (3e-4,), ((),), (frequencies,)), Codification(), spectral)
    pitch, starts = np.array([60, 60]), np.array([[-200, 77, 441_000], [0, -512, 1000]])
    inputs = table.inputs(pitch, starts, np.full(starts.shape, -9.0), np.full(starts.shape, -1.0))
    gains = rng.standard_normal((2, 3, MODES, 2)).astype(np.float32)
    a = gains.view(np.complex64)[..., 0] * inputs["phasors"].view(np.complex64)[..., 0]
    blocks, samples = (np.asarray(inputs[name])[inputs["key"]] for name in ("blocks", "samples"))
    amplitudes = np.ascontiguousarray(a[..., None]).view(np.float32)
    frames = ops.convert_to_numpy(tone_frames(amplitudes, blocks, samples, inputs["starts"], spectral))
    n = starts[..., None] + np.arange(512)
    c = gains[..., :7, 0] + 1j * gains[..., :7, 1]
    waves = np.exp(2j * np.pi * np.array(frequencies) * n[..., None] / SAMPLE_RATE)
    expected = np.einsum("vfm,vfnm->vfn", c, waves).real * (n >= 0) * window_samples(spectral)
    np.testing.assert_allclose(frames, expected, atol=2e-3)


def test_modes_fade_after_the_note_and_decay_where_nothing_was_heard():
    table = ModeTable(Tuning(60, (261.6,), (3e-4,), ((),), ((440.0,),)), Codification(), Spectral())
    since_off, unheard = np.array([[-5.0, 4000.0, 1e6, -5.0]]), np.array([[-1.0, 0.0, 0.0, 2.0]])
    phasors = table.inputs(np.array([60]), np.array([[1000] * 4]), since_off, unheard)["phasors"][0, :, 0]
    decay = np.exp(-2.0 / typical_decay(60))
    np.testing.assert_allclose(np.hypot(*phasors.T), [1, release_fade(0.35)[4000], 0, decay], atol=1e-6)


def test_after_note_off_modes_decay_sample_by_sample(model):
    settings, note = model.settings, Note(0.0, 0.3, 61)
    table = make_table(model.tuning, (), settings)
    starts, held = 1024 * np.arange(20)[None], samples_of(note)[1]
    inputs = voice_inputs(Voices.of([note]), starts, table, settings, model.heard)
    gains = np.ones((1, 20, MODES, 2), np.float32)
    lasting, damped = (
        ops.convert_to_numpy(mode_frames(gains, np.full((1, 1, 1), damping, np.float32), inputs, settings.spectral))
        for damping in (0, 30)
    )
    since_off = np.maximum(starts[..., None] + np.arange(2048) - held, 0)
    np.testing.assert_allclose(damped, lasting * np.exp(-30 * since_off / SAMPLE_RATE), atol=1e-5)
    assert np.abs(lasting[since_off > 0]).max() > 1


def test_one_velocity_was_heard_so_every_velocity_is_a_gain(model):
    assert model.heard.velocities == (100, 100)
    loud = render([Note(0.0, 0.5, 62, 127)], model, progress=False)
    for velocity in (1, 20, 64, 110):
        soft = render([Note(0.0, 0.5, 62, velocity)], model, progress=False)
        np.testing.assert_allclose(soft, loud * (velocity / 127) ** 2, rtol=1e-5, atol=1e-9)


def test_what_was_heard_is_kept_in_the_file(model, tmp_path):
    again = load_model(str(save_model(tmp_path / "again.keras", model)))
    assert again.heard == model.heard and again.tuning == model.tuning
    settings = make_settings()
    notes = [Note(0.0, 0.5, 60, 30), Note(1.0, 3.0, 60, 90), Note(4.0, 4.5, 62, 50)]
    heard = Heard.of(notes, settings)
    assert heard.seconds == pytest.approx((2.0, 2.0, 0.5)) and heard.velocities == (30, 90)
    assert heard.velocity(np.array([1, 64, 127])).tolist() == [30, 64, 90]
    everywhere = Heard.of(notes, make_settings(architecture="mask_keyed")).seconds
    assert everywhere == pytest.approx((2.35, 2.35, 2.35))


def test_a_borrowed_key_does_what_its_neighbour_does(model):
    network = build_network(model.settings, *model.heard.tables)
    rng = np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(rng.normal(0, 0.1, weight.shape))
    network = with_all_keys(dataclasses.replace(model, network=network), {61: 60, 62: 60, 63: 64}).network
    features, attack = rng.random((1, 3, FEATURES), np.float32), rng.random((1, 3, ATTACK.count), np.float32)
    answers = [network([features, attack, np.full((1, 3), row, np.int32)]) for row in (0, 1)]
    for ours, theirs in zip(*answers, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_renderer_s_tone_is_the_stft_of_the_modes(model):
    """Where all gains are 1, a voice's tone is the STFT of its modes' sum."""
    settings, tuning = model.settings, model.tuning
    spectral = dataclasses.replace(settings.spectral, frame_step=256)
    settings = dataclasses.replace(settings, spectral=spectral)
    table, pitch = make_table(tuning, (), settings), 61
    starts = 256 * np.arange(8)[None] + 3000
    inputs = voice_inputs(Voices.of([Note(0.0, 2.0, pitch)]), starts, table, settings, model.heard)
    blocks, samples = (ops.take(inputs[name], inputs["key"], axis=0) for name in ("blocks", "samples"))
    frames = ops.convert_to_numpy(tone_frames(inputs["phasors"], blocks, samples, inputs["starts"], spectral))[0]
    t = np.arange(3000 + 256 * 8 + 2048) / SAMPLE_RATE
    sound = np.cos(2 * np.pi * np.array(tuning.modes[pitch - tuning.low])[:, None] * t).sum(axis=0)
    spectra = np.fft.rfft(frames)[:, : spectral.bins]
    expected = stft(sound[3000:].astype(np.float32), spectral, pad=False)[:8]
    assert np.abs(spectra - expected).max() < 1e-3 * np.abs(expected).max()


def changed_keys(model, before):
    """Return the keys that have other gains than in the model `before`."""
    ours, theirs = (
        next(w.numpy() for w in m.network.weights if w.path.startswith("own_gains")) for m in (model, before)
    )
    return [key for key, *gains in zip(model.heard.keys, ours, theirs, strict=True) if not np.array_equal(*gains)]


def test_missing_keys_are_as_loud_as_their_lenders(model):
    """Several in a row, too: each has the modes and the tables of the same key."""
    heard, modes, f0 = {60, 64}, list(model.tuning.modes), model.tuning.f0
    for pitch, lender in ((61, 60), (62, 60), (63, 64)):
        modes[pitch - 60] = tuple(np.array(modes[lender - 60]) * f0[pitch - 60] / f0[lender - 60])
    lent = dataclasses.replace(model, tuning=dataclasses.replace(model.tuning, modes=tuple(modes)))
    lent = borrow_keys(lent, heard)
    assert changed_keys(lent, model) == [61, 62, 63]
    for pitch, lender in ((61, 60), (62, 60), (63, 64)):
        for seconds in (0.1, 0.3, 1.0):
            ours, theirs = (
                np.linalg.norm(render([Note(0.0, seconds, key)], lent, progress=False)) for key in (pitch, lender)
            )
            assert abs(20 * np.log10(ours / theirs)) < 1


def test_neighbours_in_a_row_borrow_from_the_same_key_as_their_tables(piano):
    notes = [
        note for note in scale_sequence(60, 66, repetitions=1, longest=0.5, sustained=0) if note.pitch in (60, 65, 66)
    ]
    audio = piano.render(notes)
    tuning = measure_modes(audio, notes, estimate_tuning(audio, notes, 60, 66))
    for pitch, lender in ((61, 60), (62, 60), (63, 65), (64, 65)):
        carried = carried_modes(np.array(tuning.modes[lender - 60]), tuning, lender, pitch)
        np.testing.assert_allclose(tuning.modes[pitch - 60], np.sort(carried))


@given(st.integers(0, 4), st.floats(-20, 20), st.floats(1e-5, 1e-3))
def test_partials_keep_their_numbers_and_the_soundboard_its_frequencies(pitch, cents, b):
    f0 = 440 * 2 ** (cents / 1200 + np.arange(5) / 12)
    tuning = Tuning(60, tuple(f0), (b,) * 5, ((),) * 5)
    soundboard = 2.5 * f0[2]  # no partial's frequency
    carried = carried_modes(np.append(partial_frequencies(f0[2], b)[:12], soundboard), tuning, 62, 60 + pitch)
    np.testing.assert_allclose(carried, np.append(partial_frequencies(f0[pitch], b)[:12], soundboard), rtol=1e-9)


def test_a_key_that_was_not_heard_is_tuned_between_its_neighbours():
    b, stretch = np.array([1e-4, 1.0, 4e-4]), np.array([10.0, 500.0, -20.0])  # the middle one is nonsense
    f0 = midi_to_hz(np.arange(60, 63)) * 2 ** (stretch / 1200)
    tuning = tuned_between(Tuning(60, tuple(f0), tuple(b), ((),) * 3), {60, 62})
    assert tuning.f0[1] == pytest.approx(midi_to_hz(61) * 2 ** (-5 / 1200))
    assert tuning.inharmonicity[1] == pytest.approx(2e-4)
    assert (tuning.f0[0], tuning.f0[2]) == (f0[0], f0[2]) and tuning.inharmonicity[::2] == (1e-4, 4e-4)
    everything = Tuning(60, tuple(f0), tuple(b), ((),) * 3)
    assert tuned_between(everything, {60, 61, 62}) == everything


@given(st.floats(-60, 0), st.floats(-1.5, 1.5), st.integers(30, 90))
def test_levels_on_a_line_lie_between_exactly_and_scatter_raises_their_mean(level, slope, pitch):
    keys = [pitch + d for d in (-7, -4, -1, 2, 5, 8)]
    line = {key: np.array([level + slope * (key - pitch), -90.0]) for key in keys}
    np.testing.assert_allclose(between(line, pitch), [level, -90], atol=0.2)  # a slope is a little less likely
    scattered = {key: db + 6 * (-1) ** n for n, (key, db) in enumerate(line.items())}
    higher = between(scattered, pitch) - between(line, pitch)
    assert np.all((higher > 0) & (higher < 6))
    far = {pitch + 40: np.array([level])}  # one key alone, however far, tells its own level
    np.testing.assert_allclose(between(far, pitch), [level], atol=1e-4)


def test_a_key_far_from_all_heard_ones_takes_the_levels_of_its_lender(model, monkeypatch):
    monkeypatch.setattr(missing_keys, "FAR", 1)
    tuning = lend_modes(model.tuning, {60: model.tuning.modes[0], 64: model.tuning.modes[4]})
    alone = borrow_keys(dataclasses.replace(model, tuning=tuning), {60, 64})
    assert changed_keys(alone, model) == [61, 62, 63]
    lender, borrower = (partial_levels(alone, [key])[key] for key in (60, 62))
    times = slice(SINCE_ON.until(0.05), SINCE_ON.until(0.2))
    changes = np.array([(borrower[h] - lender[h])[times] for h in range(1, 9)])
    assert np.ptp(changes) < 0.1  # its energy alone is another


def test_gains_go_with_their_modes_where_a_partial_overtakes_a_mode_of_the_soundboard(model):
    """Also where gains are logarithms, which no level corrects."""
    training = dataclasses.replace(model.settings.training, power="log")
    modes = tuple(np.array([1, 10, 10.4]) * midi_to_hz(60))  # from key 60 to 61, the tenth partial passes the last one
    tuning = Tuning(60, tuple(midi_to_hz(np.arange(60, 65))), (1e-9,) * 5, ((),) * 5)
    tuning = lend_modes(tuning, {60: modes, 64: modes})
    assert tuning.modes[1] == pytest.approx((midi_to_hz(61), 10.4 * midi_to_hz(60), 10 * midi_to_hz(61)))
    settings = dataclasses.replace(model.settings, training=training)
    lent = borrow_keys(dataclasses.replace(model, settings=settings, tuning=tuning), {60, 64})
    own = next(w.numpy() for w in lent.network.weights if w.path.startswith("own_gains"))
    lender, borrower = (own[key - 60].reshape(SINCE_ON.count, MODES, 2) for key in (60, 61))
    np.testing.assert_array_equal(borrower[:, :3], lender[:, [0, 2, 1]])
    np.testing.assert_array_equal(borrower[:, 3:], lender[:, 3:])


def test_a_forgotten_key_is_at_its_pitch_and_as_loud_as_between_its_neighbours(model):
    heard = [60, 61, 63, 64]
    tuning = lend_modes(model.tuning, {key: model.tuning.modes[key - 60] for key in heard})
    forgetful = dataclasses.replace(model, tuning=tuning)
    levels = partial_levels(forgetful, heard)
    forgetful = borrow_keys(forgetful, heard)
    assert changed_keys(forgetful, model) == [62]
    guessed = partial_levels(forgetful, [62])[62]
    moment = SINCE_ON.until(0.1)
    for h in range(1, 5):
        neighbours = [levels[key][h][moment] for key in heard]
        assert min(neighbours) - 3 < guessed[h][moment] < max(neighbours) + 3
    sound = render([Note(0.0, 0.6, 62)], forgetful, progress=False)
    spectrum = np.abs(np.fft.rfft(sound[:16384] * np.hanning(16384)))
    assert abs(np.argmax(spectrum[:160]) * SAMPLE_RATE / 16384 - midi_to_hz(62)) < 3
    for mine, before in zip(forgetful.network.weights, model.network.weights, strict=True):
        if mine.path.startswith("own_"):
            np.testing.assert_array_equal(np.delete(mine.numpy(), 2, axis=0), np.delete(before.numpy(), 2, axis=0))
