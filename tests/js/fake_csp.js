/** The server's side of CSP, behind a `fetch()`. */

/** Let promises and streams do what they can do by now. */
export async function settle() {
  for (let turn = 0; turn < 20; turn += 1) {
    await new Promise(setImmediate);
  }
}

class FakeSession {
  known = true;
  lastId = 0;
  packets = [];
  release = () => {};

  constructor(key, streams) {
    this.key = key;
    this.streams = streams;
  }
}

/** Accepts every CONNECT as alice's. */
export class FakeCsp {
  /** Whether nobody answers. */
  down = false;
  /** Whether a proxy keeps streams until their end. */
  holdsStreams = false;
  /** "answer": the next `send` is carried out, and its answer lost. */
  losesNext = "";
  requests = [];
  sessions = [];
  frames = [];

  /** @param {import("./fakes.js").FakeBrowser} browser */
  constructor(browser) {
    this.browser = browser;
    browser.environment.fetch = (address, init) => this.#fetch(address, init);
    browser.stored = new Map();
    browser.environment.storage = {
      getItem: (key) => browser.stored.get(key) ?? null,
      setItem: (key, value) => browser.stored.set(key, value),
      removeItem: (key) => browser.stored.delete(key),
    };
  }

  get session() {
    return this.sessions.at(-1);
  }

  get calls() {
    return this.requests.map(({ call }) => call);
  }

  /** Send frames to the last session; null ends it. */
  deliver(...frames) {
    const { session } = this;
    for (const frame of frames) {
      const bytes = frame && new TextEncoder().encode(`${JSON.stringify([1, ...frame])}\r\n`);
      const data = bytes && Buffer.from(bytes).toString("base64").replaceAll("+", "-").replaceAll("/", "_");
      session.lastId += 1;
      session.packets.push([session.lastId, frame ? 1 : 0, data]);
    }
    session.release();
  }

  async #fetch(address, init) {
    const url = new URL(address);
    const call = url.pathname.split("/").at(-1);
    this.requests.push({ call, address, init });
    if (this.down) {
      throw new TypeError("fetch failed");
    }
    if (call === "handshake") {
      const session = new FakeSession(`s${this.sessions.length}`, url.searchParams.get("is") === "1");
      this.sessions.push(session);
      return new Response(`({"session": "${session.key}"})`);
    }
    const session = this.sessions.find(({ key }) => key === url.searchParams.get("s"));
    if (!session?.known) {
      return new Response("'Session not found'", { status: 404 });
    }
    const acknowledged = Number(url.searchParams.get("a"));
    session.packets = session.packets.filter(([id]) => id > acknowledged);
    if (call === "send") {
      return this.#send(session, JSON.parse(init.body));
    }
    return call === "comet" ? this.#comet(session, init.signal) : new Response('("OK")');
  }

  #send(session, batch) {
    for (const [id, , data] of batch) {
      if (id > (session.sent ?? 0)) {
        session.sent = id;
        for (const line of data.split("\r\n").slice(0, -1)) {
          const frame = JSON.parse(line);
          this.frames.push(frame);
          const answers = {
            CONNECT: ["CONNECTED", { name: "alice", version: "1" }],
            PING: ["ACK", { id: frame[0] }],
          };
          if (answers[frame[1]]) {
            this.deliver(answers[frame[1]]);
          }
        }
      }
    }
    if (this.losesNext === "answer") {
      this.losesNext = "";
      throw new TypeError("network error");
    }
    return new Response('("OK")');
  }

  async #comet(session, signal) {
    const aborted = new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError")));
    });
    aborted.catch(() => {});
    const something = () =>
      session.packets.length > 0
        ? Promise.resolve()
        : new Promise((resolve) => {
            session.release = resolve;
          });
    if (!session.streams) {
      await Promise.race([something(), aborted]);
      return new Response(`(${JSON.stringify(session.packets)})\n`);
    }
    let seen = 0;
    const body = new ReadableStream({
      pull: async (controller) => {
        await Promise.race([this.holdsStreams ? aborted : something(), aborted]);
        const news = session.packets.filter(([id]) => id > seen);
        seen = news.at(-1)?.[0] ?? seen;
        const bytes = new TextEncoder().encode(`(${JSON.stringify(news)})\n`);
        // Cut anywhere, as networks do.
        const middle = Math.floor(bytes.length / 2);
        controller.enqueue(bytes.slice(0, middle));
        controller.enqueue(bytes.slice(middle));
        session.packets = [];
      },
    });
    return new Response(body);
  }
}
