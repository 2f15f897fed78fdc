// The console: signs in, and joins list, detail, uploads and events.

import { Api } from "./api.js";
import { Detail } from "./detail.js";
import { el, nameOf, setText, show } from "./dom.js";
import { List } from "./list.js";
import { Live } from "./live.js";
import { Upload } from "./upload.js";

const TOKEN = "reprise.token";
const PARALLEL_UPLOADS = 3;
const STALE_MS = 15_000; // an upload that nothing was heard of for so long is interrupted
const $ = (id) => document.getElementById(id);

/** Whether list and recording are shown side by side, as in the style sheet. */
const isWide = () => matchMedia("(min-width: 52rem)").matches;

function announce(text) {
  $("announce").textContent = text;
}

function toast(text) {
  const node = $("toast");
  node.textContent = text;
  show(node, true);
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => show(node, false), 6000);
}

/** Everything that is shown to one signed-in user. */
class Console {
  recordings = new Map(); // by id
  ticks = new Map(); // the latest, by recording id
  uploads = new Set();
  #cursor;
  #refreshing = new Map(); // recording id → whether to look once more

  constructor(token, user) {
    this.api = new Api(token, () => {
      sessionStorage.removeItem(TOKEN);
      signOut("The token is not valid any more.");
    });
    this.list = new List($("list"), {
      open: (id) => this.open(id),
      pause: (id) => this.uploadOf(id)?.pause(),
      resume: (id) => this.uploadOf(id)?.start(),
      cancel: (id) => this.cancel(id),
    });
    setText($("user"), user.subject.replace(/^dev:/, ""));
    this.live = new Live(this.api, {
      event: (event) => this.hear(event),
      ready: () => this.load(), // after the subscription, so that nothing falls in between
      state: (state) => this.showLive(state),
    });
    $("more").onclick = () => this.load();
    this.timer = setInterval(() => this.doubt(), STALE_MS / 3);
  }

  destroy() {
    clearInterval(this.timer);
    this.live.stop();
    for (const upload of this.uploads) upload.pause();
    this.detail?.destroy();
    this.list.clear();
    $("uploads").replaceChildren();
  }

  showLive(state) {
    $("live").dataset.state = state;
    setText($("live"), { live: "Live", connecting: "Connecting" }[state] ?? "Reconnecting");
  }

  async load() {
    try {
      const { items, nextCursor } = await this.api.recordings(this.#cursor);
      const first = this.#cursor === undefined;
      this.#cursor = nextCursor;
      show($("more"), Boolean(nextCursor));
      for (const recording of items) this.put(recording);
      if (items.some(({ state }) => state === "uploading")) await this.findInterrupted();
      show($("empty"), this.recordings.size === 0 && this.uploads.size === 0);
      const wanted = new URLSearchParams(location.hash.slice(1)).get("recording");
      if (first && wanted) this.open(wanted);
      else if (first && items.length && isWide()) this.open(items[0].id);
    } catch (problem) {
      toast(problem.message);
      show($("more"), true);
    }
  }

  /** Says of unfinished uploads how far they are, also those of other devices. */
  async findInterrupted() {
    for (const { recordingId, offsetBytes, lengthBytes } of (await this.api.uploads()).items) {
      if (this.ticks.has(recordingId)) continue;
      this.ticks.set(recordingId, { offsetBytes, lengthBytes, heard: 0, stale: true });
      this.render(recordingId);
    }
  }

  doubt() {
    for (const [id, tick] of this.ticks) {
      if (tick.stale || performance.now() - tick.heard < STALE_MS) continue;
      tick.stale = true;
      this.render(id);
    }
  }

  // The state of a recording.

  put(recording) {
    const known = this.recordings.get(recording.id);
    if (known && known.version > recording.version) return; // an older answer that came late
    if (known && known.state !== recording.state) {
      this.ticks.delete(recording.id); // about a stage that is over
      if (["ready", "rejected", "failed"].includes(recording.state)) {
        announce(`${nameOf(recording)}: ${recording.state === "ready" ? "ready to play" : recording.detail || recording.state}`);
      }
    }
    this.recordings.set(recording.id, recording);
    this.render(recording.id);
  }

  render(id) {
    const recording = this.recordings.get(id);
    if (!recording) return;
    this.list.put(recording, this.ticks.get(id), this.uploadOf(id), id === this.selected);
    if (id === this.selected) this.detail.update(recording, this.ticks.get(id), this.uploadOf(id));
    show($("empty"), false);
  }

  forget(id) {
    this.recordings.delete(id);
    this.ticks.delete(id);
    this.list.remove(id);
    if (id === this.selected) this.close();
    show($("empty"), this.recordings.size === 0);
  }

  hear(event) {
    const id = event.recordingId;
    if (!event.seq) {
      this.ticks.set(id, { ...event.data, heard: performance.now() });
      this.render(id);
      return;
    }
    if (id === this.selected) this.detail.happened(event);
    if (event.type === "recording.deleted" || event.type === "upload.expired") this.forget(id);
    else this.refresh(id);
  }

  /** Reads a recording anew; what is asked meanwhile is one more reading. */
  async refresh(id) {
    if (this.#refreshing.has(id)) {
      this.#refreshing.set(id, true);
      return;
    }
    do {
      this.#refreshing.set(id, false);
      try {
        this.put(await this.api.recording(id));
      } catch (problem) {
        if (problem.status === 404) this.forget(id);
      }
    } while (this.#refreshing.get(id));
    this.#refreshing.delete(id);
  }

  // One recording.

  async open(id) {
    if (!this.recordings.has(id)) await this.refresh(id);
    const recording = this.recordings.get(id);
    if (!recording || id === this.selected) return;
    const before = this.selected;
    this.detail?.destroy();
    this.selected = id;
    this.detail = new Detail($("detail"), this.api, recording, {
      rename: (title) => this.rename(id, title),
      remove: () => this.remove(id),
      save: (format) => this.save(id, format),
      back: () => this.close(),
    });
    history.replaceState(null, "", `#recording=${id}`);
    document.body.dataset.open = "";
    if (before) this.render(before);
    this.render(id);
  }

  close() {
    const before = this.selected;
    this.detail?.destroy();
    this.detail = this.selected = undefined;
    history.replaceState(null, "", location.pathname);
    delete document.body.dataset.open;
    if (before) this.render(before);
  }

  async rename(id, title) {
    try {
      this.put(await this.api.rename(id, title));
      return true;
    } catch (problem) {
      toast(problem.message);
      return false;
    }
  }

  async remove(id) {
    const recording = this.recordings.get(id);
    if (!(await confirmed(nameOf(recording)))) return;
    try {
      this.drop(this.uploadOf(id));
      await this.api.remove(id);
      this.forget(id);
    } catch (problem) {
      toast(problem.message);
    }
  }

  async save(id, format) {
    try {
      const answer = await this.api.audio(id, format);
      const url = URL.createObjectURL(await answer.blob());
      const recording = this.recordings.get(id);
      const stem = nameOf(recording).replace(/\.[^.]*$/, "");
      const name = { original: recording.filename || stem, aac: `${stem}.m4a`, opus: `${stem}.opus` }[format];
      el("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    } catch (problem) {
      toast(problem.message);
    }
  }

  // Uploads.

  uploadOf(id) {
    for (const upload of this.uploads) if (upload.recordingId === id) return upload;
    return undefined;
  }

  add(files) {
    for (const file of files) {
      const upload = new Upload(this.api, file, () => this.uploadChanged(upload));
      upload.alone = files.length === 1; // then it is what one wants to look at
      upload.node = el("li", { class: "row waiting" });
      this.uploads.add(upload);
      $("uploads").append(upload.node);
      this.uploadChanged(upload);
    }
    show($("empty"), false);
    this.startNext();
  }

  startNext() {
    const all = [...this.uploads];
    const free = PARALLEL_UPLOADS - all.filter((upload) => upload.state === "running").length;
    for (const upload of all.filter(({ state }) => state === "waiting").slice(0, Math.max(free, 0))) upload.start();
  }

  uploadChanged(upload) {
    if (upload.recordingId && upload.node) { // from here on it is a row of the list
      upload.node.remove();
      upload.node = undefined;
      this.refresh(upload.recordingId).then(() => (upload.alone || (!this.selected && isWide())) && this.open(upload.recordingId));
    }
    if (upload.node) this.showWaiting(upload);
    if (upload.recordingId) this.render(upload.recordingId);
    if (upload.state === "done" || upload.state === "failed") {
      if (upload.state === "done" || upload.recordingId) this.drop(upload);
      if (upload.error) toast(`${upload.file.name}: ${upload.error}`);
      if (upload.recordingId) this.refresh(upload.recordingId);
    }
    this.startNext();
  }

  showWaiting(upload) {
    const words = upload.error || (upload.state === "waiting" ? "Waiting for its turn" : "Beginning");
    upload.node.replaceChildren(
      el("span", { class: "title", text: upload.file.name }),
      el("span", { class: "words", text: words }),
      el("button", { type: "button", class: "quiet", text: upload.state === "failed" ? "Dismiss" : "Cancel", on: { click: () => this.drop(upload) } }),
    );
  }

  drop(upload) {
    if (!upload) return;
    this.uploads.delete(upload);
    upload.node?.remove();
    upload.pause();
  }

  async cancel(id) {
    const upload = this.uploadOf(id);
    this.uploads.delete(upload);
    await upload?.cancel();
    this.refresh(id);
  }
}

function confirmed(name) {
  const dialog = $("confirm");
  $("confirm-text").textContent = `“${name}” goes at once, with everything made of it.`;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    $("confirm-yes").onclick = () => dialog.close("yes");
    $("confirm-no").onclick = () => dialog.close();
    dialog.onclose = () => resolve(dialog.returnValue === "yes");
  });
}

let current;

async function signIn(token) {
  try {
    const user = await new Api(token, () => {}).me();
    sessionStorage.setItem(TOKEN, token);
    show($("signin"), false);
    show($("console"), true);
    current = new Console(token, user);
  } catch (problem) {
    if (problem.status === 401) sessionStorage.removeItem(TOKEN);
    signOut(problem.message);
  }
}

/** Shows the sign-in form, with the reason if it was not asked for. */
function signOut(why = "") {
  current?.destroy();
  current = undefined;
  delete document.body.dataset.open;
  show($("console"), false);
  show($("signin"), true);
  $("signin-error").textContent = why;
  $("token").focus();
}

$("signin-form").addEventListener("submit", (event) => {
  event.preventDefault();
  $("signin-error").textContent = "";
  const token = $("token").value.trim();
  $("token").value = "";
  signIn(token);
});
$("signout").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  signOut();
});
$("files").addEventListener("change", (event) => {
  current?.add([...event.target.files]);
  event.target.value = ""; // so that the same file can be chosen again
});

// Files can be dropped anywhere.
let depth = 0; // dragenter and dragleave also come from what is inside
const dragsFiles = (event) => current && event.dataTransfer?.types.includes("Files");
addEventListener("dragenter", (event) => dragsFiles(event) && ++depth && show($("overlay"), true));
addEventListener("dragleave", (event) => dragsFiles(event) && --depth <= 0 && show($("overlay"), false));
addEventListener("dragover", (event) => dragsFiles(event) && event.preventDefault());
addEventListener("drop", (event) => {
  if (!dragsFiles(event)) return;
  event.preventDefault();
  depth = 0;
  show($("overlay"), false);
  current.add([...event.dataTransfer.files]);
});

// Leaving the page interrupts what it sends; it can be resumed, but ask.
addEventListener("beforeunload", (event) => {
  if (current && [...current.uploads].some(({ state }) => state === "running")) event.preventDefault();
});

// A token in the fragment is taken, and taken out of the address and history.
function takeToken() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token) history.replaceState(null, "", location.pathname);
  return token;
}
addEventListener("hashchange", () => {
  const token = takeToken();
  if (!token) return;
  current?.destroy();
  current = undefined;
  signIn(token);
});

const token = takeToken() ?? sessionStorage.getItem(TOKEN);
if (token) signIn(token);
else signOut();
