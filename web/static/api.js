// The public API, with the token of this tab.

/** What the server says went wrong (RFC 9457), or status 0 if it can't be reached. */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }

  /** Whether the same request may succeed later. */
  get passing() {
    return this.status === 0 || this.status === 408 || this.status === 423 || this.status === 429 || this.status >= 500;
  }
}

/** Makes a Problem of an answer's status and body. */
export function problemOf(status, body) {
  try {
    const problem = JSON.parse(body);
    return new Problem(status, problem.code, problem.detail || problem.title);
  } catch {
    return new Problem(status, "", status ? `The server answered ${status}.` : "The server can’t be reached.");
  }
}

export class Api {
  /** rejected is called when the token is not valid (any more). */
  constructor(token, rejected) {
    this.token = token;
    this.rejected = rejected;
  }

  /** Returns the answer, or throws a Problem. */
  async fetch(path, options = {}) {
    let answer;
    try {
      answer = await fetch(path, { ...options, headers: { ...options.headers, Authorization: `Bearer ${this.token}` } });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw problemOf(0, "");
    }
    if (answer.status === 401) this.rejected();
    if (!answer.ok) throw problemOf(answer.status, await answer.text());
    return answer;
  }

  async json(path, options) {
    return (await this.fetch(path, options)).json();
  }

  me = () => this.json("/v1/me");
  ticket = async () => (await this.json("/v1/events/ticket", { method: "POST" })).ticket;
  uploads = () => this.json("/v1/uploads?limit=200");
  recordings = (cursor) => this.json(`/v1/recordings?limit=50${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`);
  recording = (id) => this.json(`/v1/recordings/${id}`);
  // Without a redirect: the page may connect to its own server only, and the
  // storage's would have to allow it, too.
  peaks = (id, signal) => this.json(`/v1/recordings/${id}/peaks?format=json&redirect=false`, { signal });
  remove = (id) => this.fetch(`/v1/recordings/${id}`, { method: "DELETE" });
  audio = (id, format, signal) => this.fetch(`/v1/recordings/${id}/audio?format=${format}&redirect=false`, { signal });

  rename = (id, title) =>
    this.json(`/v1/recordings/${id}`, {
      method: "PATCH",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ title }),
    });

  /** All milestones of a recording, oldest first. */
  async events(id) {
    const all = [];
    for (let since = 0; ; ) {
      const { items } = await this.json(`/v1/recordings/${id}/events?limit=200&since=${since}`);
      all.push(...items);
      if (items.length < 200) return all;
      since = items.at(-1).seq;
    }
  }
}
