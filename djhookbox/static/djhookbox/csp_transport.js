import { LOST, NORMAL } from "./close_codes.js";
import { Crowd } from "./crowd.js";

export { Detour } from "./detour.js";
export { Ways } from "./ways.js";

/** @import { TransportEvents } from "./websocket_transport.js" */

/** The format of the answers: plain text, one batch per line. */
const VARIABLES = { ct: "text/plain", bs: "\n", du: "30" };

/** A stream continues after its first batch; `i` is the longest pause between batches in seconds. */
const STREAM = { is: "1", i: "15" };

/** Attempts per request before the connection counts as lost, and milliseconds between them. */
const ATTEMPTS = 3;
const PAUSE = 500;

/**
 * If an answer without news arrives sooner than this (milliseconds), or is cut, the server did not
 * send it: a proxy or a "security" program answered in its place. After `IN_VAIN` such answers in
 * a row, with increasing pauses, the connection counts as lost.
 */
const AT_ONCE = 2000;
const IN_VAIN = 6;

/**
 * Transports text in plain HTTP requests where WebSockets are not available: CSP, the Comet Session
 * Protocol, as a stream or with long polling. One request is always open; the server sends text in
 * its answer. The page sends text in separate requests, one at a time.
 */
export class CspTransport {
  #url;
  #events;
  #environment;
  #variables;
  #crowd;
  #warn;
  #session = "";
  /** The last packet from the server. */
  #received = 0;
  /** The last packet to the server. */
  #sent = 0;
  #outgoing = "";
  #sending = false;
  #ended = false;
  #abort = new AbortController();
  #leave = () => this.close(NORMAL, "The page is unloading.");

  /**
   * @param {string} url As ws: or wss:.
   * @param {TransportEvents} events
   * @param {Record<string, any>} environment
   * @param {boolean} streaming
   * @param {(text: string) => void} [warn] Shows warnings to the page's developer.
   */
  constructor(url, events, environment, streaming, warn = () => {}) {
    this.#url = `${url.replace(/^ws/, "http")}/csp`;
    this.#events = events;
    this.#warn = warn;
    this.#environment = environment;
    this.#variables = { ...VARIABLES, ...(streaming ? STREAM : {}) };
    environment.window?.addEventListener("pagehide", this.#leave);
    this.#guard(this.#open());
  }

  /** @param {string} text */
  send(text) {
    this.#outgoing += text;
    if (!this.#sending) {
      this.#sending = true;
      this.#guard(this.#sendAll());
    }
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  close(code, reason) {
    if (!this.#ended && this.#session) {
      this.#goodbye();
    }
    this.#end(code, reason);
  }

  /** Notify the server, even while the page is unloading; do not wait for the answer. */
  #goodbye() {
    const init = { method: "POST", credentials: "include", keepalive: true };
    this.#environment.fetch(this.#address("close"), init).catch(() => {});
  }

  async #open() {
    const answer = await this.#request("handshake", "{}", this.#variables);
    this.#session = parse(await answer.text()).session;
    if (this.#ended) {
      this.#goodbye(); // the page has closed it in the meantime
      return;
    }
    this.#crowd = new Crowd(this.#url, this.#environment, this.#warn);
    this.#events.onOpen();
    for (let vain = 0; !this.#ended; ) {
      const [begun, received] = [this.#environment.now(), this.#received];
      await this.#listen();
      const news = this.#received > received || this.#environment.now() - begun >= AT_ONCE;
      vain = news ? 0 : vain + 1;
      if (vain === IN_VAIN) {
        throw new Error("Something between browser and server answers the requests.");
      }
      if (vain > 1) {
        await this.#pause(vain - 1);
      }
    }
  }

  /** @param {number} attempt */
  #pause(attempt) {
    return new Promise((resolve) => this.#environment.setTimeout(resolve, PAUSE * attempt));
  }

  /** Read one answer as it arrives. */
  async #listen() {
    const answer = await this.#request("comet", "");
    if (!answer.body) {
      this.#take(await answer.text());
      return;
    }
    const decoder = new TextDecoder();
    const reader = answer.body.getReader();
    let rest = "";
    for (;;) {
      let piece;
      try {
        piece = await reader.read();
      } catch {
        return; // it was cut; the answer to the next request contains the rest
      }
      if (piece.done) {
        return;
      }
      const lines = (rest + decoder.decode(piece.value, { stream: true })).split("\n");
      rest = lines.pop();
      lines.forEach((line) => this.#take(line));
    }
  }

  /** @param {string} batch */
  #take(batch) {
    let text = "";
    let over = false;
    for (const [id, encoding, data] of batch.trim() ? parse(batch) : []) {
      if (id > this.#received) {
        this.#received = id;
        over ||= data === null;
        text += encoding === 1 ? decode(data) : (data ?? "");
      }
    }
    if (text && !this.#ended) {
      this.#events.onText(text);
    }
    if (over) {
      this.#end(LOST, "");
    }
  }

  async #sendAll() {
    while (this.#outgoing && !this.#ended) {
      const text = this.#outgoing;
      this.#outgoing = "";
      this.#sent += 1;
      await this.#request("send", JSON.stringify([[this.#sent, 0, text]]));
    }
    this.#sending = false;
  }

  /**
   * Send a request, and retry it if the network fails. Packets are numbered, so none counts twice.
   *
   * @param {string} call
   * @param {string} body
   * @param {Record<string, string>} [query]
   * @returns {Promise<Response>}
   */
  async #request(call, body, query = {}) {
    const { fetch } = this.#environment;
    for (let attempt = 1; ; attempt += 1) {
      try {
        const init = { method: "POST", body, credentials: "include", signal: this.#abort.signal };
        const answer = await fetch(this.#address(call, query), init);
        if (!answer.ok) {
          throw new Error(`The server answered with status ${answer.status}.`);
        }
        return answer;
      } catch (error) {
        // fetch() reports network failures as TypeError. Without a session there is nothing to
        // lose yet, and another transport can be tried.
        if (!(error instanceof TypeError) || attempt === ATTEMPTS || !this.#session || this.#ended) {
          throw error;
        }
        await this.#pause(attempt);
      }
    }
  }

  /**
   * @param {string} call
   * @param {Record<string, string>} [query]
   */
  #address(call, query = {}) {
    const known = this.#session ? { s: this.#session, a: String(this.#received) } : {};
    return `${this.#url}/${call}?${new URLSearchParams({ ...query, ...known })}`;
  }

  /** @param {Promise<void>} work */
  #guard(work) {
    work.catch((error) => this.#end(LOST, String(error.message)));
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #end(code, reason) {
    if (!this.#ended) {
      this.#ended = true;
      this.#environment.window?.removeEventListener("pagehide", this.#leave);
      this.#abort.abort();
      this.#crowd?.leave();
      this.#events.onClose(code, reason);
    }
  }
}

/** Parse an answer: JSON in parentheses, as old browsers evaluated it. */
function parse(text) {
  return JSON.parse(text.trim().replace(/^\(|\)$/g, ""));
}

/** Decode URL-safe base64 of UTF-8. */
function decode(data) {
  const bytes = atob(data.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
}
