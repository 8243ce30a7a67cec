import { Backoff } from "./backoff.js";
import { comesBack, NORMAL, SESSION_CHANGED } from "./close_codes.js";
import { HookboxError } from "./errors.js";
import { encodeFrame, FrameDecoder } from "./rtjp.js";
import { Timers } from "./timers.js";
import { WebSocketTransport } from "./websocket_transport.js";

/** Refusals that are about the moment, not about the user: worth asking again. */
export const PASSING = new Set(["unavailable", "limit", "error"]);

/** Names of anonymous visitors begin so, and may differ from one connection to the next. */
const ANONYMOUS_PREFIX = " _";

/** After so long a connection counts as good, and the delays begin again with the shortest. */
const STABLE_AFTER = 10_000;

/** Opening and CONNECT together; the server gives its webhook five seconds. */
const CONNECT_TIMEOUT = 15_000;

/** A changed session's new cookie comes with an answer that the browser may not have yet. */
const NEW_COOKIE_DELAY = 1000;

/**
 * What a link tells its owner.
 *
 * @typedef {object} LinkEvents
 * @property {(status: LinkStatus) => void} onStatus
 * @property {(args: Record<string, any>) => void} onConnected Frames may be sent from here on.
 * @property {(name: string, args: Record<string, any>) => void} onFrame
 * @property {(wasConnected: boolean) => void} onDetached What was sent may not have arrived.
 * @property {(code: number, reason: string, reconnecting: boolean) => void} onLost Once per outage.
 * @property {(error: HookboxError, args: Record<string, any>, forGood: boolean) => void} onRefused
 */

/** @typedef {"connecting" | "connected" | "waiting" | "closed"} LinkStatus */

/**
 * Keeps the page linked to the server: opens a transport, sends CONNECT, and when the link breaks
 * decides by the close code whether and when to come back. Knows nothing of channels.
 */
export class Link {
  /** @type {LinkStatus} */
  status = "closed";

  /** The name that the site gave; null until it did. @type {string | null} */
  user = null;

  #url;
  #options;
  #environment;
  #events;
  #backoff;
  #timers;
  #transport = null;
  #decoder = new FrameDecoder();
  #lastId = 0;
  #connectId = 0;
  #lost = false;
  #sessionChanged = false;
  #refusal = null;
  #wakeListener = () => this.#wake();

  /**
   * @param {string} url
   * @param {object} options As those of `Connection`.
   * @param {object} environment
   * @param {LinkEvents} events
   */
  constructor(url, options, environment, events) {
    this.#url = url;
    this.#options = options;
    this.#environment = environment;
    this.#events = events;
    this.#backoff = options.backoff ?? new Backoff({ random: environment.random });
    this.#timers = new Timers(environment);
  }

  /** Connect, unless that is done or under way. */
  open() {
    if (this.status === "closed" || this.status === "waiting") {
      this.#lost = this.#sessionChanged = false;
      this.#environment.window?.addEventListener("online", this.#wakeListener);
      this.#environment.document?.addEventListener("visibilitychange", this.#wakeListener);
      this.#attempt();
    }
  }

  /** Close for good. */
  close() {
    this.#finish(NORMAL, "");
  }

  /** @returns {number} A number for a frame. */
  nextId() {
    this.#lastId += 1;
    return this.#lastId;
  }

  /**
   * Send a frame; only while connected.
   *
   * @param {string} name
   * @param {Record<string, any>} args
   * @param {number} [id]
   * @returns {number} The frame's number.
   */
  send(name, args, id = this.nextId()) {
    this.#transport.send(encodeFrame(id, name, args));
    return id;
  }

  #attempt() {
    this.#timers.stop("reconnect");
    this.#refusal = null;
    this.#decoder = new FrameDecoder();
    const Transport = this.#options.transport ?? WebSocketTransport;
    const transport = new Transport(
      this.#url,
      {
        onOpen: () => this.#sendConnect(),
        onText: (text) => this.#receive(transport, text),
        onClose: (code, reason) => this.#closed(transport, code, reason),
      },
      this.#environment,
    );
    this.#transport = transport;
    this.#timers.start("connect", CONNECT_TIMEOUT, () => transport.close(NORMAL, ""));
    this.#setStatus("connecting");
  }

  #sendConnect() {
    const { cookieString, payload, token } = this.#options;
    const args = { cookie_string: cookieString ?? "", ack: true };
    if (payload !== undefined) {
      args.payload = JSON.stringify(payload);
    }
    if (token) {
      args.token = token;
    }
    // A page belongs to the user it was made for: it never comes back as somebody else.
    if (this.user !== null && !this.user.startsWith(ANONYMOUS_PREFIX)) {
      args.expect_user = this.user;
    }
    this.#connectId = this.send("CONNECT", args);
  }

  #receive(transport, text) {
    for (const [, name, args] of this.#decoder.feed(text)) {
      if (transport !== this.#transport) {
        return; // a listener has closed it
      }
      if (name === "CONNECTED") {
        this.#connected(args);
      } else if (name === "ERROR" && this.status === "connecting" && args.id === this.#connectId) {
        this.#connectRefused(args);
      } else {
        this.#events.onFrame(name, args);
      }
    }
  }

  #connected(args) {
    this.#timers.stop("connect");
    this.#timers.start("stable", STABLE_AFTER, () => {
      this.#backoff.reset();
      this.#sessionChanged = false;
    });
    this.user = args.name;
    this.#lost = false;
    if (this.#setStatus("connected")) {
      this.#events.onConnected(args);
    }
  }

  #connectRefused(args) {
    const error = new HookboxError(String(args.msg), args.code ?? "refused");
    const forGood = !PASSING.has(error.code);
    if (forGood) {
      this.#refusal = error;
    }
    this.#events.onRefused(error, args, forGood);
    this.#transport?.close(NORMAL, ""); // and #closed() decides what is next
  }

  #closed(transport, code, reason) {
    if (transport !== this.#transport) {
      return; // it was given up before
    }
    this.#detach();
    if (this.#refusal) {
      this.#finish(code, this.#refusal.message);
    } else if (!comesBack(code) || (code === SESSION_CHANGED && this.#sessionChanged)) {
      this.#finish(code, reason);
    } else {
      this.#sessionChanged ||= code === SESSION_CHANGED;
      this.#comeBack(code, reason);
    }
  }

  #comeBack(code, reason) {
    let delay = this.#backoff.next();
    if (code === SESSION_CHANGED) {
      delay += NEW_COOKIE_DELAY;
    }
    this.#timers.start("reconnect", delay, () => this.#attempt());
    if (this.#setStatus("waiting") && !this.#lost) {
      this.#lost = true;
      this.#events.onLost(code, reason, true);
    }
  }

  /** Stay away. */
  #finish(code, reason) {
    if (this.status === "closed") {
      return;
    }
    this.#detach()?.close(NORMAL, "");
    this.#timers.stopAll();
    this.#environment.window?.removeEventListener("online", this.#wakeListener);
    this.#environment.document?.removeEventListener("visibilitychange", this.#wakeListener);
    this.#setStatus("closed");
    this.#events.onLost(code, reason, false);
  }

  /** Forget the transport and what belonged to it; return it. */
  #detach() {
    const transport = this.#transport;
    if (transport !== null) {
      this.#transport = null;
      this.#timers.stop("connect");
      this.#timers.stop("stable");
      this.#events.onDetached(this.status === "connected");
    }
    return transport;
  }

  /** The network is back, or somebody looks at the page again: do not let them wait. */
  #wake() {
    if (this.status === "waiting" && this.#environment.document?.visibilityState !== "hidden") {
      this.#attempt();
    }
  }

  /** Tell the new status; return whether it still holds, after what the page did about it. */
  #setStatus(status) {
    this.status = status;
    this.#events.onStatus(status);
    return this.status === status;
  }
}
