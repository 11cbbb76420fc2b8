// A piano that the network plays (keyboard.Piano): a key that is struck asks the kernel for its sound, piece by piece
// while it is held, and for its tail when it is let go. Pieces join to the sample.

const RATE = 44100;
const LONGEST = 20; // s that a key may be held
const AHEAD = 0.05; // s from letting a key go to its damper: the time to ask for the tail
const FADE = 441; // samples from a held key's sound to its tail
const COMPUTER_KEYS = ["KeyA", "KeyW", "KeyS", "KeyE", "KeyD", "KeyF", "KeyT", "KeyG", "KeyY", "KeyH", "KeyU", "KeyJ",
  "KeyK", "KeyO", "KeyL", "KeyP", "Semicolon", "Quote"];
const NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"];
const isBlack = (pitch) => NAMES[pitch % 12].endsWith("#");
const nameOf = (pitch) => `${NAMES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;

function make(parent, tag, attributes = {}, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

const samplesOf = (view) => new Float32Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

// One stroke of a key: what of its sound has come, and where it stands in the audio clock.
class Voice {
  constructor(piano, id, pitch, struck) {
    Object.assign(this, { piano, id, pitch, struck, samples: 0, released: false });
    this.gain = new GainNode(piano.context);
    this.gain.connect(piano.volume);
    this.patience = setTimeout(() => piano.giveUp(this), 3000);
  }

  play(samples, at, gain, skip = 0) {
    const buffer = new AudioBuffer({ length: Math.max(1, samples.length), sampleRate: RATE });
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(this.piano.context, { buffer });
    source.connect(gain);
    source.start(at, skip);
    return source;
  }

  piece(samples) {
    const now = this.piano.context.currentTime;
    if (this.startedAt === undefined) {
      clearTimeout(this.patience);
      this.startedAt = Math.ceil((now + 0.003) * RATE) / RATE; // on a sample: pieces join exactly
      this.piano.started(this);
    }
    this.play(samples, this.startedAt + this.samples / RATE, this.gain);
    this.piano.heard(samples);
    this.samples += samples.length;
    if (this.waiting) return this.release();
    if (this.released) return;
    if (this.samples > LONGEST * RATE) return this.piano.release(this);
    const left = this.startedAt + this.samples / RATE - now;
    this.timer = setTimeout(() => this.piano.send({ type: "more", id: this.id }), 1000 * Math.max(0, left - 0.5));
  }

  release() {
    if (this.startedAt === undefined) {
      this.waiting = true; // let go before its sound has come
      return;
    }
    clearTimeout(this.timer);
    this.released = true;
    this.waiting = false;
    const held = Math.max(0.05, this.piano.context.currentTime + AHEAD - this.startedAt);
    this.piano.send({ type: "release", id: this.id, held: Math.round(held * RATE), fade: FADE });
  }

  tail(samples, begin) {
    const now = this.piano.context.currentTime + 0.002;
    const at = this.startedAt + begin / RATE;
    const late = Math.max(0, now - at);
    const gain = new GainNode(this.piano.context, { gain: 0 });
    gain.connect(this.piano.volume);
    const from = Math.max(at, now);
    gain.gain.setValueAtTime(0, from);
    gain.gain.linearRampToValueAtTime(1, from + FADE / RATE);
    this.gain.gain.setValueAtTime(1, from);
    this.gain.gain.linearRampToValueAtTime(0, from + FADE / RATE);
    if (late * RATE < samples.length) this.play(samples, from, gain, late).onended = () => gain.disconnect();
    setTimeout(() => this.gain.disconnect(), 1000 * (from + 0.1 - now));
  }

  silence() {
    clearTimeout(this.patience);
    clearTimeout(this.timer);
    this.gain.gain.setTargetAtTime(0, this.piano.context.currentTime, 0.01);
    setTimeout(() => this.gain.disconnect(), 200);
  }
}

class Piano {
  constructor(model, el) {
    this.model = model;
    this.voices = new Map(); // id -> Voice, until its tail has come
    this.down = new Map(); // pitch -> Voice of the key that is down
    this.pedalled = new Map(); // pitch -> Voice that the pedal holds
    this.count = Math.floor(Math.random() * 2 ** 40); // of strokes: none of another page has the same number
    this.root = make(el, "div", { class: "nnss nnss-piano", tabindex: "0", "data-lm-suppress-shortcuts": "true",
      role: "application", "aria-label": "piano" });
    this.board = make(this.root, "div", { class: "nnss-keys" });
    const row = make(this.root, "div", { class: "nnss-row" });
    this.message = make(row, "span", { class: "nnss-faint nnss-message", role: "status" });
    this.hint = make(row, "span", { class: "nnss-faint" });
    if (navigator.requestMIDIAccess) {
      this.midi = make(row, "button", { title: "listen to the MIDI keyboards of this computer" }, "MIDI keyboard");
      this.midi.onclick = () => this.listen();
    }
    this.keys = new Map();
    this.prepared = new Map(); // "pitch velocity" -> how the stroke begins: asked for before it may come
    this.wanted = new Set();
    this.root.onfocus = () => this.prepareTyped();
    this.root.onkeydown = (event) => this.typed(event, true);
    this.root.onkeyup = (event) => this.typed(event, false);
    this.root.onblur = () => this.letGo();
    this.board.onpointerdown = (event) => this.point(event);
    this.board.onpointermove = (event) => (event.buttons ? this.point(event) : this.hover(event));
    this.board.onpointerup = () => this.unpoint();
    this.board.onpointerleave = () => this.unpoint();
    this.board.onpointercancel = () => this.unpoint();
    // made before the first stroke, which would wait for it; a browser may let it begin with a gesture only
    this.context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    this.volume = new GainNode(this.context, { gain: model.get("gain") });
    this.volume.connect(this.context.destination);
    this.layOut();
    // once the cell has ended: on the kernel's thread for messages
    setTimeout(() => this.prepare([60]), 1000);
  }

  // ---- what is seen

  layOut() {
    this.letGo();
    const [low, high] = [this.model.get("low"), this.model.get("high")];
    this.board.replaceChildren();
    this.keys.clear();
    const pitches = Array.from({ length: high - low + 1 }, (_, i) => low + i);
    const width = 100 / Math.max(1, pitches.filter((pitch) => !isBlack(pitch)).length);
    let left = 0;
    for (const pitch of pitches) {
      const black = isBlack(pitch);
      const key = make(this.board, "button", { class: `nnss-key ${black ? "black" : "white"}`, tabindex: "-1",
        "data-pitch": pitch, "aria-label": nameOf(pitch) });
      key.style.width = `${black ? 0.62 * width : width}%`;
      key.style.left = `${black ? Math.max(0, left - 0.31 * width) : left}%`;
      if (pitch % 12 === 0) make(key, "span", {}, nameOf(pitch));
      if (!black) left += width;
      this.keys.set(pitch, key);
    }
    this.octave = Math.min(60, high - 12);
    this.showHint();
  }

  showHint() {
    this.hint.textContent = `Click into the piano, then A W S E D F ... play from ${nameOf(this.octave)}, Z and X move by an octave, space is the pedal.`;
  }

  show(pitch) {
    this.keys.get(pitch)?.classList.toggle("down", this.down.has(pitch) || this.pedalled.has(pitch));
    this.root.dataset.sounding = [...this.down.keys(), ...this.pedalled.keys()].join(" ");
  }

  say(text, bad = false) {
    this.message.textContent = text;
    this.message.classList.toggle("nnss-bad", bad);
  }

  // ---- what is done to it

  point(event) {
    const pitch = Number(event.target.closest?.(".nnss-key")?.dataset.pitch);
    event.target.releasePointerCapture?.(event.pointerId); // so that a finger can slide to the next key
    event.preventDefault();
    this.root.focus({ preventScroll: true });
    if (!pitch || pitch === this.pointed) return;
    this.unpoint();
    this.pointed = pitch;
    this.strike(pitch, this.model.get("velocity"), event.timeStamp);
  }

  unpoint() {
    if (this.pointed !== undefined) this.lift(this.pointed);
    this.pointed = undefined;
  }

  typed(event, down) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = COMPUTER_KEYS.indexOf(event.code);
    if (step < 0 && !["Space", "KeyZ", "KeyX"].includes(event.code)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.repeat) return;
    if (event.code === "Space") this.setPedal(down);
    else if (step < 0) this.shift(down ? (event.code === "KeyX" ? 12 : -12) : 0);
    else if (down) this.strike(this.octave + step, this.model.get("velocity"), event.timeStamp);
    else this.lift(this.octave + step);
  }

  shift(by) {
    const octave = this.octave + by;
    if (!by || octave < this.model.get("low") - 11 || octave > this.model.get("high")) return;
    this.letGo();
    this.octave = octave;
    this.showHint();
    this.prepareTyped();
  }

  async listen() {
    const access = await navigator.requestMIDIAccess().catch((error) => this.say(`no MIDI keyboard: ${error.message}`, true));
    if (!access) return;
    const hear = () => {
      for (const input of access.inputs.values()) input.onmidimessage = (event) => this.midiHeard(event);
      this.say(`MIDI keyboards: ${[...access.inputs.values()].map((input) => input.name).join(", ") || "none is connected"}`);
    };
    access.onstatechange = hear;
    hear();
  }

  midiHeard({ data: [status, pitch, value], timeStamp }) {
    const kind = status & 0xf0;
    if (kind === 0x90 && value > 0) this.strike(pitch, value, timeStamp);
    else if (kind === 0x80 || kind === 0x90) this.lift(pitch);
    else if (kind === 0xb0 && pitch === 64) this.setPedal(value >= 64);
  }

  // ---- what may sound soon

  hover(event) {
    const pitch = Number(event.target.closest?.(".nnss-key")?.dataset.pitch);
    clearTimeout(this.resting);
    if (pitch) this.resting = setTimeout(() => this.prepare([pitch]), 20);
  }

  prepare(pitches) {
    this.wanted = new Set([...pitches, ...this.wanted].filter((pitch) => this.keys.has(pitch)));
    this.ask();
  }

  prepareTyped() {
    this.prepare(COMPUTER_KEYS.map((_, step) => this.octave + step));
  }

  // one at a time, so that no stroke waits for many that may never come
  ask() {
    const velocity = this.model.get("velocity");
    const [pitch] = [...this.wanted].filter((each) => !this.prepared.has(`${each} ${velocity}`));
    this.wanted.delete(pitch);
    if (pitch === undefined || this.asked > performance.now() - 2000) return;
    this.asked = performance.now();
    this.send({ type: "prepare", pitch, velocity });
  }

  keep({ pitch, velocity }, view) {
    this.prepared.set(`${pitch} ${velocity}`, samplesOf(view));
    if (this.prepared.size > 128) this.prepared.delete(this.prepared.keys().next().value);
    this.root.dataset.prepared = this.prepared.size;
    this.asked = undefined;
    this.ask();
  }

  // ---- what sounds

  send(message) {
    this.model.send({ ...message, time: this.context.currentTime });
  }

  strike(pitch, velocity, struck) {
    if (!this.keys.has(pitch) || this.down.has(pitch)) return;
    this.context.resume();
    if (this.pedalled.has(pitch)) this.release(this.pedalled.get(pitch));
    this.count += 1;
    const voice = new Voice(this, this.count, pitch, struck);
    this.voices.set(voice.id, voice);
    this.down.set(pitch, voice);
    const first = this.prepared.get(`${pitch} ${velocity}`);
    this.send({ type: "press", id: voice.id, pitch, velocity, prepared: Boolean(first) });
    if (first) voice.piece(first);
    this.show(pitch);
  }

  heard(samples) {
    if (samples.some((sample) => sample !== 0)) this.root.dataset.pieces = Number(this.root.dataset.pieces ?? 0) + 1;
  }

  started(voice) {
    const { currentTime, baseLatency, outputLatency } = this.context;
    const device = baseLatency + (outputLatency || 0); // as far as the browser knows it
    const latency = performance.now() - voice.struck + 1000 * (voice.startedAt - currentTime + device);
    this.root.dataset.latency = latency.toFixed(1);
    this.root.dataset.sounds = Number(this.root.dataset.sounds ?? 0) + 1;
    this.say(`${nameOf(voice.pitch)}: ${latency.toFixed(0)} ms from the key to its sound`);
  }

  lift(pitch) {
    const voice = this.down.get(pitch);
    if (!voice) return;
    this.down.delete(pitch);
    this.send({ type: "lift", id: voice.id });
    if (this.model.get("pedal")) {
      this.pedalled.set(pitch, voice);
      this.show(pitch);
    } else {
      this.release(voice);
    }
  }

  giveUp(voice) {
    this.say("no answer from the kernel: is it busy, or has the notebook not been run?", true);
    this.forget(voice);
  }

  forget(voice) {
    for (const held of [this.down, this.pedalled]) if (held.get(voice.pitch) === voice) held.delete(voice.pitch);
    this.voices.delete(voice.id);
    voice.silence();
    this.show(voice.pitch);
  }

  release(voice) {
    for (const held of [this.down, this.pedalled]) if (held.get(voice.pitch) === voice) held.delete(voice.pitch);
    voice.release();
    this.show(voice.pitch);
  }

  letGo() {
    [...this.down.keys()].forEach((pitch) => this.lift(pitch));
  }

  setPedal(down) {
    if (this.model.get("pedal") === down) return;
    this.model.set("pedal", down);
    this.model.save_changes();
  }

  pedalChanged() {
    const down = this.model.get("pedal");
    this.send({ type: "pedal", down });
    if (!down) [...this.pedalled.values()].forEach((voice) => this.release(voice));
  }

  answered(message, buffers) {
    if (message.type === "message") return this.say(message.text, true);
    if (message.type === "changed") return this.prepared.clear();
    if (message.type === "prepared") return this.keep(message, buffers[0]);
    const voice = this.voices.get(message.id);
    if (!voice) return;
    if (message.type === "lost") return this.forget(voice);
    const samples = samplesOf(buffers[0]);
    if (message.type === "piece") return voice.piece(samples);
    voice.tail(samples, message.begin);
    this.voices.delete(voice.id);
  }

  destroy() {
    this.context.close();
  }
}

export default {
  render({ model, el }) {
    const piano = new Piano(model, el);
    const heard = (message, buffers) => piano.answered(message, buffers);
    const laidOut = () => piano.layOut();
    const pedal = () => piano.pedalChanged();
    const gain = () => (piano.volume.gain.value = model.get("gain"));
    const listeners = { "msg:custom": heard, "change:low": laidOut, "change:high": laidOut, "change:pedal": pedal, "change:gain": gain,
      "change:velocity": () => piano.prepareTyped() };
    for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
    return () => {
      for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
      piano.destroy();
    };
  },
};
