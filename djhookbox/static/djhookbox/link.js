import { ACCOUNT_GONE, breaksOff, comesBack, GOING_AWAY, LOST, NORMAL, SESSION_CHANGED } from "./close_codes.js";
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

/** Names of anonymous visitors begin so, and may differ from one connection to the next. */
const ANONYMOUS_PREFIX = " _";

/** After so long a connection counts as good, and the delays begin again with the shortest. */
const STABLE_AFTER = 10_000;

/** A changed session's new cookie comes with an answer that the browser may not have yet. */
const NEW_COOKIE_DELAY = 1000;

/**
 * Firefox closes WebSockets with GOING_AWAY as soon as it starts to leave a page. So long nothing
 * is said and done: either the page has gone by then, or it stays after all (a download, "Stop").
 */
const UNLOADING = 5000;

/**
 * What a link tells its owner.
 *
 * @typedef {object} LinkEvents
 * @property {(status: LinkStatus) => void} onStatus
 * @property {(args: Record<string, any>) => void} onConnected Frames may be sent from here on.
 * @property {(name: string, args: Record<string, any>) => void} onFrame
 * @property {(wasConnected: boolean, code: number, reason: string) => void} onDetached What was
 *   sent may not have arrived.
 * @property {(code: number, reason: string, reconnecting: boolean) => void} onLost Once per outage.
 * @property {(error: HookboxError, forGood: boolean) => void} onRefused
 * @property {(code: number, reason: string) => void} onSessionEnded
 * @property {() => boolean} isIdle Whether nothing that was sent waits for its answer.
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
  #pace;
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
   * @param {Route} route The transports, in the order in which to try them.
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
      () => this.#transport?.close(LOST, "The connection does not answer."),
    );
    this.#page = new PageLife(environment, () => this.#wake(), () => this.#return());
  }

  /** The kind of transport in use. */
  get transport() {
    return this.#route.kind;
  }

  /**
   * Connect, unless that is done or under way.
   *
   * A person may shorten the delay after a failure, and so may whoever has waited for as long as
   * it takes on average; code that calls this as often as a connection ends may not.
   */
  open() {
    if (this.status !== "closed" && this.status !== "waiting") {
      return;
    }
    const early = this.#page.touched ? 0 : this.#pace.early;
    if (this.status === "closed") {
      this.#page.listen("addEventListener");
      this.#lost &&= this.#pace.waits; // else it is another outage
    }
    if (early === 0) {
      this.#sessionChanged = false;
      this.#attempt();
    } else if (this.status === "closed") {
      this.#timers.start("reconnect", early, () => this.#attempt());
      this.#setStatus("waiting");
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
    this.#options.logger?.debug("hookbox >", id, name, args);
    this.#transport.send(encodeFrame(id, name, args));
    return id;
  }

  /** Find out now whether the connection is alive: if not, it is given up and tried again. */
  check() {
    this.#heartbeat.check();
  }

  /** The site has said that the session is over: the page may come back once, as who it is. */
  sessionChanged() {
    this.#transport?.close(SESSION_CHANGED, "The session has changed.");
  }

  #attempt() {
    this.#timers.stop("reconnect");
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
   * Give up a transport that takes too long.
   *
   * @param {Transport} transport
   * @param {boolean} opened Whether only the answer to CONNECT is outstanding.
   * @param {number} [code] With what it is closed.
   */
  #hurry(transport, opened, code = LOST) {
    this.#timers.start("connect", this.#route.patience(opened), () => {
      transport.close(code, "The server did not answer in time.");
    });
  }

  /** @param {Transport} transport */
  async #greet(transport) {
    this.#opened = true;
    let { token } = this.#options;
    if (typeof token === "function") {
      this.#hurry(transport, true, NORMAL); // what may go wrong here is not the transport's fault
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
    // A page belongs to the user it was made for: it never comes back as somebody else.
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
        // What a WebSocket says by its close code, and when to come back.
        this.#pace.spread(args.spread);
        transport.close(args.code, String(args.reason));
      } else if (!this.#heartbeat.heard(args.id)) {
        this.#events.onFrame(name, args);
      }
    }
  }

  /** @param {Record<string, any>} args */
  #connected(args) {
    this.#timers.stop("connect");
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
   * There is no connection for now, or not at all.
   *
   * @param {HookboxError} error
   */
  #refused(error) {
    const forGood = !PASSING.has(error.code);
    if (forGood) {
      this.#refusal = error;
    }
    this.#events.onRefused(error, forGood);
    this.#transport?.close(NORMAL, error.message); // and #closed() decides what is next
  }

  /**
   * @param {Transport} transport
   * @param {number} code
   * @param {string} reason
   */
  #closed(transport, code, reason) {
    if (transport !== this.#transport) {
      return; // it was given up before
    }
    if (this.#page.left) {
      this.#detach(code, reason);
      this.status = "waiting"; // for #return(); nobody is there to be told
      return;
    }
    if (code === GOING_AWAY) {
      this.#heartbeat.end();
      this.#timers.start("unloading", UNLOADING + this.#pace.next(), () => this.#begin());
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
    this.#timers.start("reconnect", delay, () => this.#attempt());
    // A rotated session key is no outage: the page is back in a moment, or hears that it is not.
    if (this.#setStatus("waiting") && !this.#lost && code !== SESSION_CHANGED) {
      this.#lost = true;
      this.#events.onLost(code, reason, true);
    }
  }

  /**
   * Stay away.
   *
   * @param {number} code
   * @param {string} reason
   */
  #finish(code, reason) {
    if (this.status === "closed") {
      return;
    }
    this.#detach(code, reason)?.close(NORMAL, "");
    this.#timers.stopAll();
    this.#page.listen("removeEventListener");
    if (this.#refusal || !comesBack(code)) {
      this.#pace.next(); // for a page that tries again whatever it is told
    }
    const ended = this.#refusal?.code === "session_expired" || code === SESSION_CHANGED || code === ACCOUNT_GONE;
    if (this.#setStatus("closed") && ended) {
      this.#events.onSessionEnded(code, reason);
    }
    this.#events.onLost(code, reason, false);
  }

  /**
   * Forget the transport and what belonged to it; return it.
   *
   * @param {number} code
   * @param {string} reason
   */
  #detach(code, reason) {
    const transport = this.#transport;
    if (transport !== null) {
      this.#transport = null;
      for (const purpose of ["connect", "stable", "unloading"]) {
        this.#timers.stop(purpose);
      }
      this.#heartbeat.end();
      this.#route.ended();
      this.#events.onDetached(this.status === "connected", code, reason);
    }
    return transport;
  }

  /** Connect anew, without a word if it succeeds: with resume nothing is lost. */
  #begin() {
    this.#detach(NORMAL, "")?.close(NORMAL, "");
    this.#attempt();
  }

  /** The page is back from where the browser had kept it, without its connection. */
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
   * Tell the new status; return whether it still holds, after what the page did about it.
   *
   * @param {LinkStatus} status
   */
  #setStatus(status) {
    this.status = status;
    this.#events.onStatus(status);
    return this.status === status;
  }
}
