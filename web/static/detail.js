// One recording: waveform, facts, what has happened to it.

import { bytes, clock, dateTime, duration, el, level, nameOf, setText, show } from "./dom.js";
import { status } from "./list.js";
import { Player } from "./player.js";

const HAPPENED = {
  "upload.created": () => "Upload began",
  "upload.received": (data) => `Every byte is safe${data.sizeBytes == null ? "" : ` (${bytes(data.sizeBytes)})`}`,
  "upload.expired": () => "Upload expired",
  "processing.completed": (data) => ({
    store: "Stored as one object", verify: "Size and digest verified", probe: "Looked inside", transcode: "Converted and measured",
  })[data.stage] ?? `Done: ${data.stage}`,
  "recording.ready": () => "Ready to play",
  "recording.rejected": (data) => `Not accepted: ${data.reason}`,
  "recording.failed": (data) => `Failed: ${data.reason}`,
  "recording.retried": () => "Tried again",
  "recording.updated": (data) => (data.title == null ? "Changed" : `Renamed to “${data.title}”`),
  "recording.deleted": () => "Deleted",
};

export class Detail {
  #api;
  #recording;
  #player;
  #events = new Map(); // by seq

  /** actions: rename(title), remove(), save(format), back(). */
  constructor(node, api, recording, actions) {
    this.#api = api;
    this.node = node;
    this.#build(recording, actions);
    this.#loadEvents(recording.id);
  }

  destroy() {
    this.#player?.destroy();
    this.node.replaceChildren();
  }

  #build(recording, actions) {
    this.title = el("h1");
    this.input = el("input", { maxlength: "200", "aria-label": "Title", required: true });
    this.form = el(
      "form",
      { class: "rename", hidden: true, on: { submit: (event) => this.#rename(event, actions) } },
      this.input,
      el("button", { type: "submit", class: "primary", text: "Save" }),
      el("button", { type: "button", class: "quiet", text: "Cancel", on: { click: () => this.#editing(false) } }),
    );
    this.renameButton = el("button", { type: "button", class: "quiet", text: "Rename", on: { click: () => this.#editing(true) } });
    this.input.addEventListener("keydown", (event) => event.key === "Escape" && this.#editing(false));
    this.heading = el(
      "div",
      { class: "heading" },
      this.title,
      this.renameButton,
      el("button", { type: "button", class: "quiet bad", text: "Delete", on: { click: () => actions.remove() } }),
    );
    this.sub = el("p", { class: "muted sub" });
    this.words = el("p", { class: "words" });
    this.bar = el("progress", { max: "1", "aria-label": "Progress" });
    this.stand = el("div", { class: "stand" }, this.words, this.bar);
    this.playerPlace = el("div");
    this.facts = el("dl", { class: "facts" });
    this.saves = el(
      "p",
      { class: "saves" },
      ...[["original", "Original"], ["aac", "AAC"], ["opus", "Opus"]].map(([format, words]) =>
        el("button", { type: "button", class: "quiet", text: words, "data-format": format, on: { click: () => actions.save(format) } })),
    );
    this.saves.prepend(el("span", { class: "muted", text: "Download" }));
    this.timeline = el("ol", { class: "timeline" });
    this.node.replaceChildren(
      el("button", { type: "button", class: "quiet back", text: "‹ Recordings", on: { click: () => actions.back() } }),
      this.heading, this.form, this.sub, this.stand, this.playerPlace, this.facts, this.saves,
      el("h2", { text: "What happened" }), this.timeline,
      el("p", { class: "muted small mono", text: recording.id }),
    );
  }

  /** Shows the recording as it is now. */
  update(recording, live, upload) {
    this.#recording = recording;
    setText(this.title, nameOf(recording));
    const file = recording.title && recording.filename ? `${recording.filename} · ` : "";
    setText(this.sub, file + dateTime(recording.recordedAt ?? recording.createdAt));

    const { words, fraction } = status(recording, live, upload);
    const ready = recording.state === "ready";
    this.stand.dataset.state = recording.state;
    show(this.stand, !ready);
    setText(this.words, recording.detail ? `${words}. ${recording.detail}` : words);
    show(this.bar, fraction !== undefined);
    if (fraction !== undefined) this.bar.value = fraction;

    if (ready && !this.#player) {
      this.#player = new Player(this.#api, recording);
      this.playerPlace.replaceChildren(this.#player.node);
    }
    show(this.saves, recording.sizeBytes != null);
    for (const button of this.saves.querySelectorAll("[data-format]")) show(button, button.dataset.format === "original" || ready);
    this.#showFacts(recording);
  }

  #showFacts({ durationMs, loudness, sizeBytes, media, sha256, language, silences }) {
    const facts = [];
    const add = (name, value, title) => value && facts.push([name, value, title]);
    add("Duration", duration(durationMs));
    if (loudness) {
      add("Loudness", level(loudness.integratedLufs, "LUFS"), "Integrated, EBU R 128. Broadcast aims at −23.");
      add("Range", loudness.rangeLu == null ? "" : level(loudness.rangeLu, "LU"), "Loudness range, EBU Tech 3342");
      add("True peak", level(loudness.truePeakDbtp, "dBTP"), "Above −1 it may distort when converted.");
    }
    if (silences?.length) add("Silence", duration(silences.reduce((sum, s) => sum + s.endMs - s.startMs, 0)));
    if (media) {
      const channels = { 1: "mono", 2: "stereo" }[media.channels] ?? `${media.channels} channels`;
      add("Original", `${media.codec}, ${media.sampleRateHz / 1000} kHz, ${channels}`, media.container);
    }
    add("Size", bytes(sizeBytes));
    add("Language", language);
    add("SHA-256", sha256 && `${sha256.slice(0, 12)}…`, sha256);
    const text = JSON.stringify(facts);
    if (this.facts.dataset.shown === text) return;
    this.facts.dataset.shown = text;
    this.facts.replaceChildren(...facts.map(([name, value, title]) => el("div", { title }, el("dt", { text: name }), el("dd", { text: value }))));
  }

  /** Adds a milestone to the timeline. */
  happened(event) {
    if (!event.seq) return;
    this.#events.set(event.seq, event);
    const all = [...this.#events.values()].sort((a, b) => a.seq - b.seq);
    this.timeline.replaceChildren(...all.map(({ type, at, data, seq }) =>
      el("li", { "data-type": type, title: `${type}, number ${seq}` },
        el("time", { datetime: at, text: clock(at), title: dateTime(at) }),
        el("span", { text: HAPPENED[type]?.(data) ?? type }))));
  }

  async #loadEvents(id) {
    try {
      for (const event of await this.#api.events(id)) this.happened(event);
    } catch {
      // What comes live is shown all the same.
    }
  }

  #editing(on) {
    show(this.form, on);
    show(this.heading, !on);
    if (on) {
      this.input.value = nameOf(this.#recording);
      this.input.select();
    } else {
      this.renameButton.focus();
    }
  }

  async #rename(event, actions) {
    event.preventDefault();
    if (await actions.rename(this.input.value.trim())) this.#editing(false);
  }
}
