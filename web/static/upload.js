// A tus 1.0 client for one file. The file's own clientId makes creating it safe
// to repeat, and lets a file that is dropped again, even after a reload, go on
// where it was.

import { problemOf } from "./api.js";

const CHUNK = 16 * 1024 * 1024; // what a proxy in between surely lets pass
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 15_000;

/** FNV-1a over UTF-16 units: tells files apart, and needs no secure context. */
function fingerprint(file) {
  let hash = 0x811c9dc5;
  for (const unit of `${file.name}|${file.size}|${file.lastModified}`) {
    hash = Math.imul(hash ^ unit.codePointAt(0), 0x01000193);
  }
  return (hash >>> 0).toString(16).padStart(8, "0");
}

function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** Cuts a name to what the server takes, in bytes, keeping whole characters. */
function clip(text, limit) {
  let kept = "";
  let size = 0;
  for (const character of text) {
    size += new TextEncoder().encode(character).length;
    if (size > limit) break;
    kept += character;
  }
  return kept;
}

export class Upload {
  state = "waiting"; // waiting, running, paused, done, failed
  offset = 0;
  error = "";
  recordingId = "";
  #api;
  #changed;
  #url = "";
  #clientId = "";
  #located = false; // whether offset is what the server said, and nothing was lost since
  #request;
  #wake; // ends a pause between attempts
  #pause = FIRST_PAUSE;

  /** changed(upload) is called whenever something about it changes. */
  constructor(api, file, changed) {
    this.#api = api;
    this.#changed = changed;
    this.file = file;
  }

  get fraction() {
    return this.file.size ? this.offset / this.file.size : 0;
  }

  /** Sends until everything is there, or pause, or something that can't be helped. */
  async start() {
    if (this.state === "running" || this.state === "done") return;
    this.#set({ state: "running", error: "" });
    while (this.state === "running") {
      try {
        await this.#step();
        this.#pause = FIRST_PAUSE;
      } catch (problem) {
        this.#located = false; // how much of a chunk arrived, only the server knows
        if (this.state === "running") await this.#recover(problem);
      }
    }
  }

  pause() {
    if (this.state !== "running") return;
    this.#set({ state: "paused" });
    this.#request?.abort();
    this.#wake?.();
  }

  /** Gives the upload up, here and on the server. */
  async cancel() {
    this.pause();
    this.#set({ state: "failed" });
    if (this.#url) await this.#send("DELETE", this.#url).catch(() => {});
  }

  #set(change) {
    Object.assign(this, change);
    this.#changed(this);
  }

  // One request: create it, ask where it is, or send a chunk.
  async #step() {
    if (!this.#url) {
      await this.#create();
      return;
    }
    if (!this.#located) {
      const answer = await this.#send("HEAD", this.#url);
      this.#set({ offset: Number(answer.getResponseHeader("Upload-Offset")) });
      this.#located = true;
    } else {
      const from = this.offset;
      const chunk = this.file.slice(from, from + CHUNK);
      const headers = { "Content-Type": "application/offset+octet-stream", "Upload-Offset": from };
      const answer = await this.#send("PATCH", this.#url, headers, chunk, (sent) => this.#set({ offset: from + sent }));
      this.#set({ offset: Number(answer.getResponseHeader("Upload-Offset")) });
    }
    if (this.offset >= this.file.size) this.#set({ state: "done" });
  }

  async #create() {
    this.#clientId ||= await this.#findClientId();
    const metadata = { filename: clip(this.file.name, 255), clientId: this.#clientId };
    if (this.file.type) metadata.filetype = this.file.type;
    const answer = await this.#send("POST", "/files/", {
      "Upload-Length": this.file.size,
      "Upload-Metadata": Object.entries(metadata).map(([key, value]) => `${key} ${base64(value)}`).join(","),
    });
    // The path only: the page speaks to the server that it came from.
    this.#url = new URL(answer.getResponseHeader("Location"), location.href).pathname;
    this.#set({ recordingId: answer.getResponseHeader("Reprise-Recording") });
  }

  // If this file was begun before and not finished, its clientId; else a new one.
  async #findClientId() {
    const prefix = `console-${fingerprint(this.file)}-`;
    const { items } = await this.#api.uploads();
    const begun = items.find((upload) => upload.clientId?.startsWith(prefix) && upload.lengthBytes === this.file.size);
    return begun?.clientId ?? prefix + Math.random().toString(36).slice(2, 10);
  }

  async #recover(problem) {
    const gone = this.#url && (problem.status === 404 || problem.status === 410);
    const moved = this.#url && problem.status === 409; // by another tab, or not where we thought
    if (!problem.passing && !moved) {
      this.#set({ state: "failed", error: gone ? "The upload was ended elsewhere." : problem.message });
      return;
    }
    this.#set({ error: problem.status === 0 ? "Connection lost, trying again" : problem.message });
    await new Promise((resolve) => {
      this.#wake = resolve;
      setTimeout(resolve, this.#pause * (0.75 + Math.random() / 2));
      addEventListener("online", resolve, { once: true });
    });
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
    if (this.state === "running") this.#set({ error: "" });
  }

  // XMLHttpRequest and not fetch: only it tells how much has been sent.
  #send(method, url, headers = {}, body = null, progress = null) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      this.#request = request;
      request.open(method, url);
      request.setRequestHeader("Authorization", `Bearer ${this.#api.token}`);
      request.setRequestHeader("Tus-Resumable", "1.0.0");
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      if (progress) request.upload.onprogress = (event) => progress(event.loaded);
      request.onload = () => {
        if (request.status >= 200 && request.status < 300) {
          resolve(request);
          return;
        }
        if (request.status === 401) this.#api.rejected();
        reject(problemOf(request.status, request.responseText));
      };
      request.onerror = request.onabort = () => reject(problemOf(0, ""));
      request.send(body);
    });
  }
}
