// The list of recordings, newest first.

import { bytes, duration, el, iconButton, nameOf, remaining, setText, show } from "./dom.js";

const WORDS = {
  uploading: "Uploading",
  received: "Received",
  processing: "Processing",
  ready: "Ready",
  rejected: "Not accepted",
  failed: "Failed",
};

const STAGES = { store: "storing", verify: "checking", probe: "looking inside", transcode: "converting" };

/**
 * Says where a recording stands: in words, and as a fraction if it is under way.
 * live is its latest tick, upload the one that this page is sending.
 */
export function status(recording, live, upload) {
  const words = WORDS[recording.state] ?? recording.state;
  if (recording.state === "uploading") {
    const total = upload?.file.size ?? live?.lengthBytes;
    const sent = upload?.offset ?? live?.offsetBytes;
    const fraction = total ? Math.min(sent / total, 1) : undefined;
    const part = fraction === undefined ? "" : ` ${Math.floor(fraction * 100)}%`;
    if (upload?.state === "paused") return { words: `Paused${part && ` at${part}`}`, fraction };
    if (upload?.error) return { words: upload.error, fraction };
    if (!upload && (!live || live.stale)) return { words: `Interrupted${part && ` at${part}`}: add the file again to go on`, fraction };
    return { words: `${words}${part}${total ? ` of ${bytes(total)}` : ""}`, fraction };
  }
  if (recording.state === "processing" && live?.stage && !live.stale) {
    const left = live.remainingMs > 0 ? `, ${remaining(live.remainingMs)}` : "";
    const part = live.percent == null ? "" : ` ${Math.floor(live.percent)}%`;
    return {
      words: `${words}: ${STAGES[live.stage] ?? live.stage}${part}${left}`,
      fraction: live.percent == null ? undefined : live.percent / 100,
    };
  }
  return { words: recording.reason ? `${words}: ${recording.reason.replaceAll("_", " ")}` : words };
}

/** A recording's row. */
class Row {
  constructor(id, actions) {
    this.title = el("span", { class: "title" });
    this.length = el("span", { class: "length" });
    this.words = el("span", { class: "words" });
    this.bar = el("progress", { max: "1", "aria-label": "Progress", hidden: true });
    this.open = el(
      "button",
      { type: "button", class: "open", on: { click: () => actions.open(id) } },
      el("span", { class: "line" }, this.title, this.length),
      el("span", { class: "line" }, el("i", { class: "dot" }), this.words),
      this.bar,
    );
    this.pause = iconButton("pause", "Pause the upload", () => actions.pause(id));
    this.resume = iconButton("play", "Resume the upload", () => actions.resume(id));
    this.cancel = iconButton("cancel", "Cancel the upload", () => actions.cancel(id));
    this.controls = el("span", { class: "controls" }, this.pause, this.resume, this.cancel);
    this.node = el("li", { class: "row" }, this.open, this.controls);
  }

  update(recording, live, upload, selected) {
    const { words, fraction } = status(recording, live, upload);
    this.node.dataset.state = recording.state;
    setText(this.title, nameOf(recording));
    setText(this.length, recording.state === "ready" ? duration(recording.durationMs) : "");
    setText(this.words, words);
    show(this.bar, fraction !== undefined && recording.state !== "ready");
    if (fraction !== undefined) this.bar.value = fraction;
    if (selected) this.open.setAttribute("aria-current", "true");
    else this.open.removeAttribute("aria-current");
    const active = recording.state === "uploading" && upload != null && upload.state !== "done";
    show(this.controls, active);
    show(this.pause, upload?.state === "running");
    show(this.resume, upload?.state === "paused");
  }
}

export class List {
  #node;
  #actions;
  #rows = new Map();

  /** actions: open, pause, resume and cancel, each called with a recording's id. */
  constructor(node, actions) {
    this.#node = node;
    this.#actions = actions;
  }

  /** Shows a recording, at the place that its id gives it: ids sort by creation. */
  put(recording, live, upload, selected) {
    let row = this.#rows.get(recording.id);
    if (!row) {
      row = new Row(recording.id, this.#actions);
      row.id = recording.id;
      const before = [...this.#rows.values()].filter((other) => other.id < row.id).sort((a, b) => (a.id < b.id ? 1 : -1))[0];
      this.#node.insertBefore(row.node, before?.node ?? null);
      this.#rows.set(recording.id, row);
    }
    row.update(recording, live, upload, selected);
  }

  remove(id) {
    this.#rows.get(id)?.node.remove();
    this.#rows.delete(id);
  }

  clear() {
    for (const id of [...this.#rows.keys()]) this.remove(id);
  }
}
