// Waveform and player of a recording. The audio needs the token, so it is
// fetched as a whole when it is first wanted, and played from memory.

import { bytes, duration, el, icon } from "./dom.js";

const BAR = 2; // CSS pixels
const GAP = 1;
const STEP_SECONDS = 5;
const RATES = [0.75, 1, 1.25, 1.5, 2];

export class Player {
  #api;
  #recording;
  #audio = new Audio();
  #loading; // a promise while, and after, the audio is fetched
  #ended = new AbortController();
  #bars = []; // [low, high] from -1 to 1, one for each bar
  #peaks;
  #colors = {};
  #frame;
  #wanted = 0; // seconds: where to be once there is audio

  constructor(api, recording) {
    this.#api = api;
    this.#recording = recording;
    this.#build();
    const { signal } = this.#ended;
    for (const type of ["play", "pause", "ended"]) this.#audio.addEventListener(type, () => this.#tick(), { signal });
    this.#audio.addEventListener("seeked", () => this.#draw(), { signal });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#restyle(), { signal });
    this.sizes = new ResizeObserver(() => this.#resize());
    this.sizes.observe(this.canvas);
    this.#loadPeaks();
  }

  destroy() {
    this.#ended.abort();
    this.sizes.disconnect();
    this.#audio.pause();
    if (this.#audio.src) URL.revokeObjectURL(this.#audio.src);
    this.#audio.removeAttribute("src");
  }

  #build() {
    this.canvas = el("canvas");
    this.hint = el("span", { class: "hint" });
    this.wave = el(
      "div",
      {
        class: "wave", role: "slider", tabindex: "0", "aria-label": "Position", "aria-valuemin": "0",
        "aria-valuemax": Math.round(this.#length), on: {
          pointerdown: (event) => {
            this.wave.setPointerCapture(event.pointerId);
            this.#drag(event);
          },
          pointermove: (event) => event.buttons === 1 && this.#drag(event),
          keydown: (event) => this.#key(event),
        },
      },
      this.canvas,
      this.hint,
    );
    this.button = el("button", { type: "button", class: "play", on: { click: () => this.toggle() } });
    this.time = el("span", { class: "time" });
    this.note = el("span", { class: "muted small", role: "status" });
    const rate = el(
      "select",
      { "aria-label": "Speed", on: { change: () => (this.#audio.playbackRate = Number(rate.value)) } },
      ...RATES.map((value) => el("option", { value, text: `${value}×`, selected: value === 1 })),
    );
    this.node = el("div", { class: "player" }, this.wave, el("div", { class: "transport" }, this.button, this.time, this.note, el("span", { class: "space" }), rate));
    this.#showTime();
  }

  get #length() {
    return this.#audio.duration || (this.#recording.durationMs ?? 0) / 1000;
  }

  get #position() {
    return this.#audio.src ? this.#audio.currentTime : this.#wanted;
  }

  async toggle() {
    if (!this.#audio.paused) {
      this.#audio.pause();
      return;
    }
    try {
      await (this.#loading ??= this.#load());
      await this.#audio.play();
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#loading = undefined;
      this.note.textContent = error.message;
    }
  }

  async #load() {
    const format = this.#audio.canPlayType('audio/mp4; codecs="mp4a.40.2"') ? "aac" : "opus";
    this.note.textContent = "Loading…";
    const answer = await this.#api.audio(this.#recording.id, format, this.#ended.signal);
    const total = Number(answer.headers.get("Content-Length"));
    const pieces = [];
    let got = 0;
    for (const reader = answer.body.getReader(); ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      pieces.push(value);
      got += value.length;
      this.note.textContent = total ? `Loading ${bytes(got)} of ${bytes(total)}` : `Loading ${bytes(got)}`;
    }
    this.#audio.src = URL.createObjectURL(new Blob(pieces, { type: answer.headers.get("Content-Type") }));
    await new Promise((resolve, reject) => {
      this.#audio.onloadedmetadata = resolve;
      this.#audio.onerror = () => reject(new Error("This browser can’t play it."));
    });
    this.#audio.currentTime = this.#wanted;
    this.note.textContent = "";
  }

  async #loadPeaks() {
    this.hint.textContent = "";
    try {
      this.#peaks = await this.#api.peaks(this.#recording.id, this.#ended.signal);
    } catch (error) {
      if (error.name !== "AbortError") this.hint.textContent = "The waveform can’t be loaded.";
      return;
    }
    this.#resize();
  }

  seek(seconds) {
    this.#wanted = Math.min(Math.max(seconds, 0), this.#length);
    if (this.#audio.src) this.#audio.currentTime = this.#wanted;
    this.#draw();
  }

  #drag(event) {
    const box = this.wave.getBoundingClientRect();
    this.seek(((event.clientX - box.left) / box.width) * this.#length);
  }

  #key(event) {
    const moves = {
      ArrowLeft: -STEP_SECONDS, ArrowDown: -STEP_SECONDS, ArrowRight: STEP_SECONDS, ArrowUp: STEP_SECONDS,
      PageDown: -this.#length / 10, PageUp: this.#length / 10, Home: -Infinity, End: Infinity,
    };
    if (event.key === " " || event.key === "Enter") this.toggle();
    else if (event.key in moves) this.seek(this.#position + moves[event.key]);
    else return;
    event.preventDefault();
  }

  // Follows the audio while it plays.
  #tick() {
    this.#draw();
    cancelAnimationFrame(this.#frame);
    if (!this.#audio.paused && !this.#ended.signal.aborted) this.#frame = requestAnimationFrame(() => this.#tick());
  }

  #showTime() {
    const playing = !this.#audio.paused;
    if (this.button.dataset.playing !== String(playing)) {
      this.button.dataset.playing = playing;
      this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
      this.button.replaceChildren(icon(playing ? "pause" : "play"));
    }
    const text = `${duration(this.#position * 1000)} / ${duration(this.#length * 1000)}`;
    if (this.time.textContent !== text) {
      this.time.textContent = text;
      this.wave.setAttribute("aria-valuenow", Math.floor(this.#position));
      this.wave.setAttribute("aria-valuetext", `${duration(this.#position * 1000)} of ${duration(this.#length * 1000)}`);
    }
  }

  #resize() {
    const { width, height } = this.canvas.getBoundingClientRect();
    if (!width) return;
    this.canvas.width = Math.round(width * devicePixelRatio);
    this.canvas.height = Math.round(height * devicePixelRatio);
    this.#measure(Math.floor(width / (BAR + GAP)));
    this.#restyle();
  }

  // Folds the peaks (BBC audiowaveform: min and max by turns, per channel) into
  // as many bars as there is room for. The loudest one fills the height.
  #measure(count) {
    this.#bars = [];
    if (!this.#peaks) return;
    const { data, channels = 1 } = this.#peaks;
    const pairs = Math.floor(data.length / (2 * channels));
    let loudest = 1;
    for (let bar = 0; bar < count && pairs > 0; bar++) {
      const first = Math.floor((bar * pairs) / count);
      const last = Math.max(first + 1, Math.floor(((bar + 1) * pairs) / count));
      let low = 0;
      let high = 0;
      for (let i = first * channels; i < last * channels; i++) {
        low = Math.min(low, data[2 * i]);
        high = Math.max(high, data[2 * i + 1]);
      }
      loudest = Math.max(loudest, -low, high);
      this.#bars.push([low, high]);
    }
    this.#bars = this.#bars.map(([low, high]) => [low / loudest, high / loudest]);
  }

  #restyle() {
    const style = getComputedStyle(this.wave);
    for (const name of ["played", "ahead", "silent", "head"]) this.#colors[name] = style.getPropertyValue(`--wave-${name}`);
    this.#draw();
  }

  #draw() {
    this.#showTime();
    const paint = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    const scale = devicePixelRatio;
    const played = this.#length ? this.#position / this.#length : 0;
    paint.clearRect(0, 0, width, height);
    this.#bars.forEach(([low, high], i) => {
      const part = (i + 0.5) / this.#bars.length;
      paint.fillStyle = part <= played ? this.#colors.played : this.#silent(part) ? this.#colors.silent : this.#colors.ahead;
      const top = height / 2 - (high * height * 0.94) / 2;
      const bottom = height / 2 - (low * height * 0.94) / 2;
      const tall = Math.max(bottom - top, 1.5 * scale);
      paint.fillRect(i * (BAR + GAP) * scale, (top + bottom - tall) / 2, BAR * scale, tall);
    });
    if (this.#bars.length) {
      paint.fillStyle = this.#colors.head;
      paint.fillRect(Math.min(played * width, width - scale), 0, 1.5 * scale, height);
    }
  }

  #silent(part) {
    const at = part * (this.#recording.durationMs ?? 0);
    return this.#recording.silences?.some(({ startMs, endMs }) => startMs <= at && at < endMs) ?? false;
  }
}
