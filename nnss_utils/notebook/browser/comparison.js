// Sounds side by side (listening.Comparison): all play at once and all but one are silent, so that switching keeps
// the position to the sample. The pictures are the sounds' spectrograms; a click on one is a place to play from.

let context; // one for the page: browsers allow only a few

function audioContext() {
  context ??= new AudioContext({ sampleRate: 44100 });
  return context;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

function make(parent, tag, attributes = {}, text = "") {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

const blobUrl = (view, type) => URL.createObjectURL(new Blob([view], { type }));

class Column {
  constructor(parent, title, player) {
    this.figure = make(parent, "figure", { class: "nnss-column", "data-title": title });
    const caption = make(this.figure, "figcaption");
    this.button = make(caption, "button", { "aria-label": `play ${title}`, "aria-pressed": "false" }, "▶");
    make(caption, "b", {}, title);
    this.link = make(caption, "a", { title: "the sound as a file without loss" }, "download");
    this.picture = make(this.figure, "div", { class: "nnss-picture" });
    this.image = make(this.picture, "img", { alt: `spectrogram: ${title}`, draggable: "false" });
    this.head = make(this.picture, "div", { class: "nnss-head", style: "left: 0" });
    this.audio = make(this.figure, "audio", { preload: "metadata" }); // without controls: not shown
    this.title = title;
    this.button.onclick = () => player.toggle(this);
    this.picture.onclick = (event) => {
      const box = this.picture.getBoundingClientRect();
      player.seek(player.timeAt((event.clientX - box.left) / box.width));
      if (player.active !== this) player.toggle(this);
    };
  }

  async set(content) {
    if (this.key === content.key) return false;
    this.key = content.key;
    const old = [this.audio.src, this.image.src].filter(Boolean);
    const sound = blobUrl(content.sound, "audio/flac");
    const picture = blobUrl(content.picture, "image/png");
    const ready = new Image();
    ready.src = picture;
    await ready.decode().catch(() => {}); // decoded before it is shown: no flicker
    this.data = content.sound;
    this.decoded = null;
    this.audio.src = sound;
    this.link.href = sound;
    this.link.download = content.file;
    this.image.src = picture;
    old.forEach((url) => URL.revokeObjectURL(url));
    return true;
  }

  buffer() {
    const { buffer, byteOffset, byteLength } = this.data;
    this.decoded ??= audioContext().decodeAudioData(buffer.slice(byteOffset, byteOffset + byteLength));
    return this.decoded;
  }

  stop() {
    this.source?.stop();
    this.source = null;
  }

  destroy() {
    this.stop();
    this.figure.remove();
    [this.audio.src, this.image.src].forEach((url) => URL.revokeObjectURL(url));
  }
}

class Player {
  constructor(model, el) {
    this.model = model;
    this.root = make(el, "div", { class: "nnss nnss-comparison", tabindex: "0", "data-lm-suppress-shortcuts": "true" });
    this.box = make(this.root, "div", { class: "nnss-columns" });
    const row = make(this.root, "div", { class: "nnss-time" });
    this.range = make(row, "input", { type: "range", min: "0", step: "0.01", value: "0", "aria-label": "playing position" });
    this.range.oninput = () => this.seek(Number(this.range.value));
    this.note = make(row, "span", { class: "nnss-faint" });
    this.files = make(row, "span");
    this.columns = [];
    this.active = null;
    this.offset = 0;
    this.root.onkeydown = (event) => this.key(event);
    this.pending = Promise.resolve();
  }

  get seconds() {
    return this.model.get("seconds");
  }

  get position() {
    if (!this.active) return this.offset;
    return Math.min(this.seconds, this.offset + Math.max(0, audioContext().currentTime - this.began));
  }

  timeAt(fraction) {
    const [left, right] = this.model.get("axes");
    return Math.min(1, Math.max(0, (fraction - left) / (right - left))) * this.seconds;
  }

  key(event) {
    if (event.key === " " && event.target !== this.root) return; // a button's own way of being pressed
    const chosen = this.columns[Number(event.key) - 1];
    if (event.key === " ") this.toggle(this.active ?? this.columns[0]);
    else if (chosen) this.active === chosen || this.toggle(chosen);
    else return;
    event.preventDefault();
  }

  // after what was asked before: decoding takes a moment, and moves must not overtake each other
  then(action) {
    this.pending = this.pending.then(action).catch((error) => console.error(error));
    return this.pending;
  }

  toggle(column) {
    audioContext().resume(); // within the click, as browsers want it
    return this.then(async () => {
      if (this.active === column) return this.pause();
      const before = this.active;
      if (before) {
        this.active = column;
        this.mix();
      } else {
        await this.start(column);
      }
      this.show();
    });
  }

  async start(column) {
    const buffers = await Promise.all(this.columns.map((each) => each.buffer()));
    await audioContext().resume();
    if (this.offset > this.seconds - 0.05) this.offset = 0;
    this.began = audioContext().currentTime + 0.02;
    this.columns.forEach((each, i) => {
      each.stop();
      each.source = new AudioBufferSourceNode(audioContext(), { buffer: buffers[i] });
      each.gain = new GainNode(audioContext(), { gain: each === column ? 1 : 0 });
      each.source.connect(each.gain).connect(audioContext().destination);
      if (this.offset < buffers[i].duration) each.source.start(this.began, this.offset);
      else each.source = null;
    });
    this.active = column;
    this.draw();
  }

  mix() {
    for (const column of this.columns)
      column.gain?.gain.setTargetAtTime(column === this.active ? 1 : 0, audioContext().currentTime, 0.004);
  }

  pause() {
    this.offset = this.position;
    this.active = null;
    this.columns.forEach((column) => column.stop());
    this.show();
  }

  seek(time) {
    return this.then(async () => {
      const column = this.active;
      if (column) this.pause();
      this.offset = time;
      if (column) await this.start(column);
      this.show();
    });
  }

  draw() {
    if (!this.active || !this.root.isConnected) return this.active && this.pause();
    if (this.position >= this.seconds) {
      this.pause();
      this.offset = 0;
    }
    this.show();
    if (this.active) requestAnimationFrame(() => this.draw());
  }

  show() {
    const [left, right] = this.model.get("axes");
    const part = this.seconds ? this.position / this.seconds : 0;
    for (const column of this.columns) {
      column.head.style.left = `${100 * (left + (right - left) * part)}%`;
      column.button.setAttribute("aria-pressed", String(column === this.active));
      column.button.textContent = column === this.active ? "❚❚" : "▶";
    }
    this.range.max = this.seconds;
    this.range.value = this.position;
    this.root.dataset.playing = this.active?.title ?? "";
    this.root.dataset.position = this.position.toFixed(3);
    this.note.textContent = `${clock(this.position)} / ${clock(this.seconds)} ${this.model.get("note")}`;
  }

  update() {
    return this.then(async () => {
      const contents = this.model.get("columns");
      const titles = contents.map((content) => content.title);
      const playing = this.active?.title;
      if (titles.join("\n") !== this.columns.map((column) => column.title).join("\n")) {
        this.pause();
        this.columns.forEach((column) => column.destroy());
        this.columns = titles.map((title) => new Column(this.box, title, this));
        this.offset = 0;
      }
      const changed = await Promise.all(this.columns.map((column, i) => column.set(contents[i])));
      if (playing && changed.some(Boolean)) {
        const column = this.columns.find((each) => each.title === playing);
        if (this.active) this.pause();
        if (column) await this.start(column);
      }
      this.root.dataset.count = contents.length;
      this.showFiles();
      this.show();
      this.root.dataset.updates = Number(this.root.dataset.updates ?? 0) + 1;
    });
  }

  showFiles() {
    this.files.querySelectorAll("a").forEach((link) => URL.revokeObjectURL(link.href));
    this.files.replaceChildren();
    for (const file of this.model.get("files")) {
      const href = blobUrl(file.data, file.type);
      make(this.files, "a", { href, download: file.name, style: "margin-right: 10px" }, file.name);
    }
  }

  destroy() {
    if (this.active) this.pause();
    this.columns.forEach((column) => column.destroy());
  }
}

export default {
  render({ model, el }) {
    const player = new Player(model, el);
    const update = () => player.update();
    model.on("change:columns", update);
    model.on("change:files", update);
    update();
    return () => {
      model.off("change:columns", update);
      model.off("change:files", update);
      player.destroy();
    };
  },
};
