import { LOST, NORMAL } from "./close_codes.js";
import { Crowd } from "./crowd.js";

export { Detour } from "./detour.js";
export { Ways } from "./ways.js";

/** @import { TransportEvents } from "./websocket_transport.js" */

/** How a session wants its answers: plain text, a batch to a line. */
const VARIABLES = { ct: "text/plain", bs: "\n", du: "30" };

/** A stream goes on after its first batch, and says at least so often (seconds) that it is there. */
const STREAM = { is: "1", i: "15" };

/** How often a request is made before the connection counts as lost, and in what pauses. */
const ATTEMPTS = 3;
const PAUSE = 500;

/**
 * An answer without news that comes sooner than this, or is cut, was not held by the server: a
 * proxy or a "security" program answers in its place. After so many in a row, each with a longer
 * pause than the one before, the connection counts as lost.
 */
const AT_ONCE = 2000;
const IN_VAIN = 6;

/**
 * Carries text over plain HTTP requests, where there is no WebSocket: CSP, the Comet Session
 * Protocol, as a stream or by long polling. What the server sends comes as the answer to one
 * request that is always open; what the page sends goes in requests of its own, one at a time.
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
  #leave = () => this.close(NORMAL, "The page goes.");

  /**
   * @param {string} url As ws: or wss:.
   * @param {TransportEvents} events
   * @param {Record<string, any>} environment
   * @param {boolean} streaming
   * @param {(text: string) => void} [warn] Shows what is wrong with the page's surroundings.
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

  /** Tell the server, also while the page goes away; nobody waits for the answer. */
  #goodbye() {
    const init = { method: "POST", credentials: "include", keepalive: true };
    this.#environment.fetch(this.#address("close"), init).catch(() => {});
  }

  async #open() {
    const answer = await this.#request("handshake", "{}", this.#variables);
    this.#session = parse(await answer.text()).session;
    if (this.#ended) {
      this.#goodbye(); // the page has given it up meanwhile
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
        throw new Error("The requests are answered without the server.");
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

  /** Take in one answer, as it comes. */
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
        return; // it broke off; the next request has what was lost of it
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
   * Make a request, again if the network fails: packets are numbered, so that none counts twice.
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
        // fetch() reports a failed network as a TypeError. Without a session there is nothing
        // to lose yet, and another transport to try.
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

/** Read an answer: JSON in parentheses, so that it was once an expression of JavaScript. */
function parse(text) {
  return JSON.parse(text.trim().replace(/^\(|\)$/g, ""));
}

/** Read URL-safe base64 of UTF-8. */
function decode(data) {
  const bytes = atob(data.replaceAll("-", "+").replaceAll("_", "/"));
  return new TextDecoder().decode(Uint8Array.from(bytes, (character) => character.charCodeAt(0)));
}
