import { ACCOUNT_GONE, breaksOff, comesBack, GOING_AWAY, HANDED_ON, LOST, NORMAL, SESSION_CHANGED } from "./close_codes.js";
import { errorOf, HookboxError, PASSING } from "./errors.js";
import { Heartbeat } from "./heartbeat.js";
import { Pace } from "./pace.js";
import { PageLife } from "./page_life.js";
import { encodeFrame, FrameDecoder } from "./rtjp.js";
import { Timers } from "./timers.js";

/**
 * @import { Route } from "./route.js"
 * @import { Transport } from "./websocket_transport.js"
 */

/** The prefix of the names of anonymous visitors, which can change with each connection. */
const ANONYMOUS_PREFIX = " _";

/** Milliseconds after which a connection counts as stable, and the delays are reset. */
const STABLE_AFTER = 10_000;

/** Additional milliseconds for the answer that contains the cookie of a changed session. */
const NEW_COOKIE_DELAY = 1000;

/**
 * Firefox closes WebSockets with GOING_AWAY as soon as it starts to leave a page. The client waits
 * for this many milliseconds: either the page is gone by then, or it stays (a download, "Stop").
 */
const UNLOADING = 5000;

/**
 * The callbacks of a link.
 *
 * @typedef {object} LinkEvents
 * @property {(status: LinkStatus) => void} onStatus
 * @property {(args: Record<string, any>) => void} onConnected Frames may be sent now.
 * @property {(name: string, args: Record<string, any>) => void} onFrame
 * @property {(wasConnected: boolean, code: number, reason: string) => void} onDetached
 *   Frames that were sent may not have arrived.
 * @property {(code: number, reason: string, reconnecting: boolean) => void} onLost Once per outage.
 * @property {(error: HookboxError, forGood: boolean) => void} onRefused
 * @property {(code: number, reason: string) => void} onSessionEnded
 * @property {() => boolean} isIdle Whether no answer is outstanding.
 */

/** @typedef {"connecting" | "connected" | "waiting" | "closed"} LinkStatus */

/**
 * Keeps the page connected to the server: opens a transport, sends CONNECT, and after a close uses
 * the code to decide whether and when to reconnect. It knows nothing about channels.
 */
export class Link {
  /** @type {LinkStatus} */
  status = "closed";

  /** The name from the site; null before the first connection. @type {string | null} */
  user = null;

  #url;
  #options;
  #environment;
  #events;
  #pace;
  /** `next`: when to give up or to try again; `stable`; and those of the heartbeat. */
  #timers;
  #route;
  /** @type {Transport | null} */
  #transport = null;
  #decoder = new FrameDecoder();
  #lastId = 0;
  #connectId = 0;
  #heartbeat;
  #opened = false;
  #lost = false;
  #sessionChanged = false;
  /** @type {HookboxError | null} */
  #refusal = null;
  #page;

  /**
   * @param {string} url
   * @param {Record<string, any>} options As those of `Connection`, with `timeout` and `heartbeat`.
   * @param {Route} route Chooses the transport.
   * @param {Record<string, any>} environment
   * @param {LinkEvents} events
   */
  constructor(url, options, route, environment, events) {
    this.#url = url;
    this.#options = options;
    this.#environment = environment;
    this.#events = events;
    this.#pace = new Pace(options.backoff, environment);
    this.#timers = new Timers(environment);
    this.#route = route;
    this.#heartbeat = new Heartbeat(
      options.heartbeat,
      this.#timers,
      () => this.send("PING", {}),
      () => this.#transport?.close(LOST, "The server did not answer in time."),
    );
    this.#page = new PageLife(environment, () => this.#wake(), () => this.#return());
  }

  /** The kind of transport in use. */
  get transport() {
    return this.#route.kind;
  }

  /**
   * Connect, unless already connected or connecting.
   *
   * A delay after a failure is cut short only if a person has just acted, or if its average has
   * passed. Code that calls this method whenever a connection ends must not shorten it.
   */
  open() {
    if (this.status !== "closed" && this.status !== "waiting") {
      return;
    }
    // A page that is loaded in advance, and perhaps never shown, waits: its WebSocket would too.
    const shown = this.#page.touched ? 0 : this.#pace.early;
    const early = this.#environment.document?.prerendering ? Infinity : shown;
    if (this.status === "closed") {
      this.#page.listen("addEventListener");
      this.#lost &&= this.#pace.waits; // otherwise this is another outage
    }
    if (early === 0) {
      this.#sessionChanged = false;
      this.#attempt();
    } else if (this.status === "closed") {
      this.#timers.start("next", early, () => this.#attempt());
      this.#setStatus("waiting");
    }
  }

  /** Close for good. */
  close() {
    this.#finish(NORMAL, "");
  }

  /** @returns {number} The id for the next frame. */
  nextId() {
    this.#lastId += 1;
    return this.#lastId;
  }

  /**
   * Send a frame. Call this only while connected.
   *
   * @param {string} name
   * @param {Record<string, any>} args
   * @param {number} [id]
   * @returns {number} The id of the frame.
   */
  send(name, args, id = this.nextId()) {
    this.#options.logger?.debug("hookbox >", id, name, args);
    this.#transport.send(encodeFrame(id, name, args));
    return id;
  }

  /** Check now whether the connection is alive; if not, reconnect. */
  check() {
    this.#heartbeat.check();
  }

  /** Handle the end of the session: the client may reconnect once, as the same user. */
  sessionChanged() {
    this.#transport?.close(SESSION_CHANGED, "The session has changed.");
  }

  #attempt() {
    this.#refusal = null;
    this.#opened = false;
    this.#decoder = new FrameDecoder();
    /** @type {Transport} */
    const transport = this.#route.open(this.#url, {
      onOpen: () => this.#greet(transport),
      onText: (text) => this.#receive(transport, text),
      onClose: (code, reason) => this.#closed(transport, code, reason),
    });
    this.#transport = transport;
    this.#hurry(transport, false);
    this.#setStatus("connecting");
  }

  /**
   * Close a transport that takes too long.
   *
   * @param {Transport} transport
   * @param {boolean} opened Whether only the answer to CONNECT is outstanding.
   * @param {number} [code] The close code.
   */
  #hurry(transport, opened, code = LOST) {
    this.#timers.start("next", this.#route.patience(opened), () => {
      transport.close(code, "The server did not answer in time.");
    });
  }

  /** @param {Transport} transport */
  async #greet(transport) {
    this.#opened = true;
    let { token } = this.#options;
    if (typeof token === "function") {
      this.#hurry(transport, true, NORMAL); // failures here are not the transport's fault
      try {
        token = await token();
      } catch (error) {
        if (transport === this.#transport) {
          const code = error?.code === "session_expired" ? error.code : "unavailable";
          this.#refused(new HookboxError(String(error?.message ?? error), code, { cause: error }));
        }
      }
      if (transport !== this.#transport) {
        return;
      }
    }
    this.#hurry(transport, true);
    const { cookieString, payload } = this.#options;
    /** @type {Record<string, any>} */
    const args = { cookie_string: cookieString ?? "", ack: true };
    if (this.#options.perConnection ?? true) {
      args.per_connection_subscriptions = true;
    }
    if (payload !== undefined) {
      args.payload = JSON.stringify(payload);
    }
    if (token) {
      args.token = token;
    }
    // A page belongs to the user it was rendered for: it never reconnects as somebody else.
    if (this.user !== null && !this.user.startsWith(ANONYMOUS_PREFIX)) {
      args.expect_user = this.user;
    }
    this.#connectId = this.send("CONNECT", args);
  }

  /**
   * @param {Transport} transport
   * @param {string} text
   */
  #receive(transport, text) {
    this.#heartbeat.heard();
    for (const [, name, args] of this.#decoder.feed(text)) {
      if (transport !== this.#transport) {
        return; // a listener has closed it
      }
      this.#options.logger?.debug("hookbox <", name, args);
      if (name === "CONNECTED") {
        this.#connected(args);
      } else if (name === "ERROR" && this.status === "connecting" && args.id === this.#connectId) {
        this.#refused(errorOf(args));
      } else if (name === "DISCONNECT") {
        // The equivalent of a WebSocket's close code, and when to reconnect.
        this.#pace.spread(args.spread);
        transport.close(args.code, String(args.reason));
      } else if (!this.#heartbeat.heard(args.id)) {
        this.#events.onFrame(name, args);
      }
    }
  }

  /** @param {Record<string, any>} args */
  #connected(args) {
    this.#timers.stop("next");
    this.#timers.start("stable", STABLE_AFTER, () => {
      this.#pace.reset();
      this.#route.lasted();
      this.#sessionChanged = false;
    });
    this.#route.succeeded(this.#url, this.#events.isIdle, () => this.#begin());
    this.#heartbeat.begin(args.version !== undefined);
    this.user = args.name;
    this.#lost = false;
    this.#pace.connected();
    if (this.#setStatus("connected")) {
      this.#events.onConnected(args);
    }
  }

  /**
   * Handle a refusal, which is temporary or final.
   *
   * @param {HookboxError} error
   */
  #refused(error) {
    const forGood = !PASSING.has(error.code);
    if (forGood) {
      this.#refusal = error;
    }
    this.#events.onRefused(error, forGood);
    this.#transport?.close(NORMAL, error.message); // #closed() decides what happens next
  }

  /**
   * @param {Transport} transport
   * @param {number} code
   * @param {string} reason
   */
  #closed(transport, code, reason) {
    if (transport !== this.#transport) {
      return; // it has already been abandoned
    }
    if (this.#page.left) {
      this.#detach(code, reason);
      this.status = "waiting"; // for #return(); there is no page to notify
      return;
    }
    if (code === HANDED_ON) {
      this.#begin();
      return;
    }
    if (code === GOING_AWAY) {
      this.#quieten();
      this.#timers.start("next", UNLOADING + this.#pace.next(), () => this.#begin());
      return;
    }
    if (this.status === "connected" && this.#timers.has("stable") && breaksOff(code)) {
      this.#route.broke();
    }
    const failed = this.status === "connecting" && !this.#refusal && code !== NORMAL;
    this.#detach(code, reason);
    if (this.#refusal) {
      this.#finish(code, this.#refusal.message);
    } else if (!comesBack(code) || (code === SESSION_CHANGED && this.#sessionChanged)) {
      this.#finish(code, reason);
    } else if (failed && this.#route.failed(this.#opened)) {
      this.#attempt();
    } else {
      this.#sessionChanged ||= code === SESSION_CHANGED;
      this.#comeBack(code, reason);
    }
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #comeBack(code, reason) {
    const delay = this.#pace.next() + (code === SESSION_CHANGED ? NEW_COOKIE_DELAY : 0);
    this.#timers.start("next", delay, () => this.#attempt());
    // A changed session key is not an outage: the client reconnects in a moment, or is refused.
    if (this.#setStatus("waiting") && !this.#lost && code !== SESSION_CHANGED) {
      this.#lost = true;
      this.#events.onLost(code, reason, true);
    }
  }

  /**
   * Stay disconnected.
   *
   * @param {number} code
   * @param {string} reason
   */
  #finish(code, reason) {
    if (this.status === "closed") {
      return;
    }
    this.#detach(code, reason)?.close(NORMAL, "");
    this.#quieten();
    this.#page.listen("removeEventListener");
    if (this.#refusal || !comesBack(code)) {
      this.#pace.next(); // for pages that call connect() in every handler
    }
    const ended = this.#refusal?.code === "session_expired" || code === SESSION_CHANGED || code === ACCOUNT_GONE;
    if (this.#setStatus("closed") && ended) {
      this.#events.onSessionEnded(code, reason);
    }
    this.#events.onLost(code, reason, false);
  }

  /**
   * Detach the transport and stop everything that belongs to it; return the transport.
   *
   * @param {number} code
   * @param {string} reason
   */
  #detach(code, reason) {
    const transport = this.#transport;
    if (transport !== null) {
      this.#transport = null;
      this.#quieten();
      this.#route.ended();
      this.#events.onDetached(this.status === "connected", code, reason);
    }
    return transport;
  }

  #quieten() {
    this.#timers.stopAll();
    this.#heartbeat.end();
  }

  /** Reconnect without notifying the page; thanks to resume, nothing is lost. */
  #begin() {
    this.#detach(NORMAL, "")?.close(NORMAL, "");
    this.#attempt();
  }

  /** Handle a page that was restored from the browser's cache, without its connection. */
  #return() {
    if (this.status === "connected") {
      this.#begin();
    } else {
      this.#wake();
    }
  }

  #wake() {
    if (this.status === "waiting") {
      this.#attempt();
    } else {
      this.check();
    }
  }

  /**
   * Set the status and notify the page; return whether the page left the status unchanged.
   *
   * @param {LinkStatus} status
   */
  #setStatus(status) {
    this.status = status;
    this.#events.onStatus(status);
    return this.status === status;
  }
}
