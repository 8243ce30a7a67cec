/** Stand-ins for what the client takes from the browser: sockets, timers, window and document. */

/** A clock whose timers run only when it is moved. */
export class FakeClock {
  #now = 0;
  #next = 1;
  #timers = new Map();

  setTimeout = (callback, delay) => {
    const timer = this.#next;
    this.#next += 1;
    this.#timers.set(timer, { at: this.#now + delay, callback });
    return timer;
  };

  clearTimeout = (timer) => {
    this.#timers.delete(timer);
  };

  get now() {
    return this.#now;
  }

  /** How many timers are running. */
  get running() {
    return this.#timers.size;
  }

  /** Move on by so many milliseconds, running what becomes due in its order. */
  pass(milliseconds) {
    const end = this.#now + milliseconds;
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= end);
      if (due.length === 0) {
        break;
      }
      const [timer, { at, callback }] = due.reduce((a, b) => (b[1].at < a[1].at ? b : a));
      this.#timers.delete(timer);
      this.#now = at;
      callback();
    }
    this.#now = end;
  }
}

class FakeSocket {
  sent = [];
  pings = [];
  closedWith = null;

  constructor(url) {
    this.url = url;
  }

  send(text) {
    for (const line of text.split("\r\n").slice(0, -1)) {
      const frame = JSON.parse(line);
      if (frame[1] === "PING") {
        this.pings.push(frame);
        this.onPing?.(frame[0]);
      } else {
        this.sent.push(frame);
      }
    }
  }

  close(code = 1000, reason = "") {
    if ((code !== 1000 && !(code >= 3000 && code <= 4999)) || new TextEncoder().encode(reason).length > 123) {
      throw new DOMException("A browser would not take this.", "SyntaxError");
    }
    this.closedWith = code;
  }
}

class FakeDocument extends EventTarget {
  visibilityState = "visible";
  elements = new Map();

  querySelectorAll(selector) {
    return [this.elements.get(selector.slice(1)) ?? []].flat();
  }
}

/** A browser for one page, and the server at the other end of its sockets. */
export class FakeBrowser {
  clock = new FakeClock();
  sockets = [];
  window = new EventTarget();
  document = new FakeDocument();
  /** Whether the server is there to answer PING. */
  alive = true;
  #frames = 0;

  constructor({ random = () => 0.5 } = {}) {
    const browser = this;
    this.environment = {
      WebSocket: class extends FakeSocket {
        constructor(url) {
          super(url);
          browser.sockets.push(this);
        }

        onPing(id) {
          if (browser.alive) {
            browser.clock.setTimeout(() => this.onmessage({ data: `[0,"ACK",{"id":${id}}]\r\n` }), 1);
          }
        }
      },
      setTimeout: this.clock.setTimeout,
      clearTimeout: this.clock.clearTimeout,
      window: this.window,
      document: this.document,
      location: { protocol: "http:", hostname: "site.example" },
      random,
      now: () => this.clock.now,
      fetch: undefined,
      storage: undefined,
    };
  }

  /** Go to another page: it has a document of its own. */
  openPage() {
    this.document = this.environment.document = new FakeDocument();
  }

  /** The socket that was opened last. */
  get socket() {
    return this.sockets.at(-1);
  }

  /** The frames of one name that the page sent over the last socket. */
  sent(name) {
    return this.socket.sent.filter((frame) => frame[1] === name);
  }

  /** The number of the last frame of that name, for the answer to it. */
  idOf(name) {
    return this.sent(name).at(-1)[0];
  }

  /** Send the page frames, given as name and arguments, in one message. */
  deliver(...frames) {
    const lines = frames.map(([name, args]) => {
      this.#frames += 1;
      return `${JSON.stringify([this.#frames, name, args])}\r\n`;
    });
    this.socket.onmessage({ data: lines.join("") });
  }

  /** Open the last socket and accept its CONNECT. */
  accept(name = "alice", extra = { version: "djhookbox/1.0.0", conn_id: "c1" }) {
    this.socket.onopen({});
    this.deliver(["CONNECTED", { name, ...extra }]);
  }

  /** Confirm the last SUBSCRIBE, with this snapshot. */
  subscribe(channelName, snapshot = {}) {
    const id = this.idOf("SUBSCRIBE");
    this.deliver(
      ["SUBSCRIBE", subscribeArgs(channelName, snapshot)],
      ["ACK", { id }],
    );
  }

  /** End the last socket from the server's side. */
  drop(code, reason = "") {
    this.socket.closedWith ??= code;
    this.socket.onclose({ code, reason });
  }
}

/** The arguments of the SUBSCRIBE frame that confirms the own subscription. */
export function subscribeArgs(channelName, snapshot = {}) {
  return {
    channel_name: channelName,
    user: "alice",
    history: [],
    history_size: 0,
    state: {},
    presence: [],
    ...snapshot,
  };
}

/** Record what an emitter emits: a list of [event, detail]. */
export function record(emitter, ...events) {
  const seen = [];
  for (const event of events) {
    emitter.on(event, (detail) => seen.push([event, detail]));
  }
  return seen;
}
