// The event socket: stays connected, and goes on where it was.

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 30_000;

export class Live {
  #api;
  #handlers;
  #seq; // of the last milestone seen
  #socket;
  #pause = FIRST_PAUSE;
  #timer;
  #stopped = false;

  /**
   * handlers: event(event); ready(), once, when everything that happens from
   * then on will be heard; state("connecting" | "live" | "offline").
   */
  constructor(api, handlers) {
    this.#api = api;
    this.#handlers = handlers;
    this.#connect();
    addEventListener("online", this.#hurry);
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    removeEventListener("online", this.#hurry);
    this.#socket?.close();
  }

  // The network is back: no need to wait.
  #hurry = () => {
    if (this.#timer) {
      clearTimeout(this.#timer);
      this.#connect();
    }
  };

  async #connect() {
    this.#timer = undefined;
    let ticket;
    try {
      ticket = await this.#api.ticket();
    } catch {
      this.#again();
      return;
    }
    if (this.#stopped) return;
    const address = new URL("/v1/events", location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address, ["reprise.v1", `ticket.${ticket}`]);
    this.#socket = socket;
    socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", since: this.#seq }));
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = () => this.#again();
  }

  #receive(event) {
    if (event.type === "error") return;
    if (event.type === "subscribed") {
      this.#pause = FIRST_PAUSE;
      this.#handlers.state("live");
      if (this.#seq === undefined) {
        this.#seq = event.seq;
        this.#handlers.ready();
      }
      return;
    }
    this.#seq = event.seq ?? this.#seq;
    this.#handlers.event(event);
  }

  #again() {
    if (this.#stopped) return;
    this.#handlers.state("offline");
    this.#timer = setTimeout(() => this.#connect(), this.#pause * (0.75 + Math.random() / 2));
    this.#pause = Math.min(2 * this.#pause, LONGEST_PAUSE);
  }
}
