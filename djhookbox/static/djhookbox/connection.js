import { Channels } from "./channels.js";
import { Emitter } from "./emitter.js";
import { closed, errorOf, HookboxError } from "./errors.js";
import { Link } from "./link.js";
import { PendingRequests } from "./pending_requests.js";
import { Route } from "./route.js";
import { Timers } from "./timers.js";

/**
 * @import { Backoff } from "./backoff.js"
 * @import { LinkStatus } from "./link.js"
 * @import { OpenLink } from "./route.js"
 * @import { Subscription } from "./subscription.js"
 * @import { Transport } from "./websocket_transport.js"
 */

/**
 * What a connection may be told; each has a default.
 *
 * @typedef {object} ConnectionOptions
 * @property {string | (() => string | Promise<string>)} [token] Who this is, where cookies do not
 *   tell; a function is called for each connection, since tokens are short-lived.
 * @property {boolean} [perConnection] False: subscriptions belong to all pages of the user that say
 *   so, as in 2011.
 * @property {any} [payload] Handed to the site's connect webhook.
 * @property {string} [cookieString] Cookies that the handshake does not carry.
 * @property {number} [timeout] Milliseconds that the server may take to answer (15 000).
 * @property {{ interval?: number, timeout?: number }} [heartbeat] Milliseconds between the signs of
 *   life asked for (25 000; 0: none), and for their answer (10 000).
 * @property {number} [keep] How many publications and messages wait for a connection (100); with 0
 *   they are rejected at once while there is none.
 * @property {boolean} [shared] Share one connection among the browser's tabs of the same user.
 * @property {boolean} [debug] Show all frames, and errors that nobody listens to, in the console.
 * @property {{ debug: Function, warn: Function }} [logger] Where to show them instead.
 * @property {string} [hint] Where refused subscriptions are put right: the page of a site with DEBUG
 *   says it, and each refusal is shown in the console.
 * @property {("websocket" | "streaming" | "polling")[]} [transports] The ones to try, in order.
 * @property {Record<string, string>} [cursors] Where to begin to read channels, by their names.
 * @property {new (...args: any[]) => Transport} [transport]
 *   The only one to use.
 * @property {Backoff} [backoff]
 * @property {any} [WebSocket] The class to use, for example that of `ws` in Node.
 * @property {Record<string, any>} [environment] `WebSocket`, `fetch`, timers, `random`, `now`,
 *   `storage`, `window`, `document`: the browser's own unless given.
 */

/**
 * The events of a connection.
 *
 * @typedef {object} ConnectionEvents
 * @property {LinkStatus} status
 * @property {{ user: string, payload?: any, [more: string]: any }} connected
 * @property {{ code: number, reason: string, reconnecting: boolean }} disconnected Once per outage.
 * @property {{ code: number, reason: string }} sessionended The session behind the connection is
 *   over, or the account; after logging in again `connect()` takes up where it was.
 * @property {HookboxError} refused The site does not let this page connect.
 * @property {HookboxError} error What no subscription and no promise told.
 * @property {{ sender: string, recipient: string, payload: any, datetime: string }} message
 * @property {Subscription} subscribed Also for channels that the site
 *   subscribed the user to.
 * @property {Subscription} unsubscribed
 */

/**
 * The page's connection to the Hookbox process; it comes back by itself when it is lost.
 *
 * @extends {Emitter<ConnectionEvents>}
 */
export class Connection extends Emitter {
  /** @type {[number, string, Record<string, any>][]} Frames that wait for a connection. */
  #outbox = [];

  #options;
  #channels;
  #link;
  #pending;
  #acknowledges = false;
  /** Whether the channels have not been told yet that the connection has gone. */
  #detaching = false;
  /** @type {HookboxError | null} */
  #refusal = null;

  /**
   * @param {string} url The server's address, without `/ws`.
   * @param {ConnectionOptions} [options]
   */
  constructor(url, options = {}) {
    super();
    const environment = {
      WebSocket: options.WebSocket ?? globalThis.WebSocket,
      fetch: globalThis.fetch && own("fetch"),
      setTimeout: own("setTimeout"),
      clearTimeout: own("clearTimeout"),
      window: globalThis.window,
      document: globalThis.document,
      random: Math.random,
      now: Date.now,
      storage: storage(),
      ...options.environment,
    };
    this.#options = {
      timeout: 15_000,
      keep: 100,
      ...options,
      heartbeat: { interval: 25_000, timeout: 10_000, ...options.heartbeat },
      logger: options.logger ?? (options.debug ? console : undefined),
    };
    this.#pending = new PendingRequests(new Timers(environment), this.#options.timeout);
    this.#channels = new Channels(
      {
        send: (name, args) => this.#link.send(name, args),
        publish: (channelName, payload) => this.publish(channelName, payload),
        emit: (event, detail) => this.emit(event, detail),
        random: environment.random,
        hint: (channelName, error) => this.#hint(channelName, error),
      },
      this.#pending,
      new Timers(environment),
      options.cursors ?? {},
    );
    this.#link = openLink(url, this.#options, environment, {
      onStatus: (status) => this.#status(status),
      onConnected: (args) => this.#connected(args),
      onFrame: (name, args) => this.#receive(name, args),
      onDetached: (wasConnected) => this.#detached(wasConnected),
      onLost: (code, reason, reconnecting) => this.#lost(code, reason, reconnecting),
      onRefused: (error, forGood) => {
        this.#refusal = forGood ? error : null;
        this.#tell(forGood ? "refused" : "error", error);
      },
      onSessionEnded: (code, reason) => this.emit("sessionended", { code, reason }),
      isIdle: () => !this.#pending.busy,
    });
  }

  /** Where the connection stands. @returns {LinkStatus} */
  get status() {
    return this.#link.status;
  }

  /** Whether frames can be exchanged at this moment. @returns {boolean} */
  get connected() {
    return this.#link.status === "connected";
  }

  /** The name that the site gave this page's user; null until it did. @returns {string | null} */
  get user() {
    return this.#link.user;
  }

  /** What carries the frames: `websocket`, `streaming`, `polling`, `shared`. @returns {string} */
  get transport() {
    return this.#link.transport;
  }

  /**
   * Connect, also again after `disconnect()` or a refusal, and at once if it was about to.
   *
   * @returns {this}
   */
  connect() {
    this.#channels.closed = this.#refusal = null;
    this.#link.open();
    return this;
  }

  /** Close the connection for good. Nothing is told any more after that. */
  disconnect() {
    this.#link.close();
    this.hush();
  }

  /**
   * Take over what a page that has been made since says.
   *
   * @internal
   * @param {ConnectionOptions} options
   */
  renew({ token, cursors = {} }) {
    this.#options.token = token;
    this.#channels.begins(cursors);
  }

  /**
   * Subscribe to a channel, now or as soon as there is a connection, and again after each reconnect.
   * Each call is counted: the page leaves when there was an `unsubscribe()` for each.
   *
   * @param {string} channelName
   * @param {{ since?: string, signal?: AbortSignal }} [options] `since`: a cursor of
   *   `djhookbox.cursor()`, from which on to read. `signal`: unsubscribe when this is aborted.
   * @returns {Subscription} The one of that channel.
   */
  subscribe(channelName, { since, signal } = {}) {
    if (typeof channelName !== "string" || channelName === "") {
      throw new TypeError("A channel's name must be a string that is not empty.");
    }
    const subscription = this.#channels.of(channelName);
    if (subscription.status === "leaving") {
      subscription.clear(); // those who have left it hear nothing any more
    }
    if (since && subscription.position.cursor === undefined) {
      subscription.position.cursor = since;
    }
    subscription.handles += 1;
    const release = () => subscription.unsubscribe();
    if (signal?.aborted) {
      release();
    } else {
      signal?.addEventListener("abort", release, { once: true });
      this.#channels.want(subscription);
    }
    return subscription;
  }

  /**
   * Take back one `subscribe()`; with the last one the page leaves the channel.
   *
   * @param {string} channelName
   */
  unsubscribe(channelName) {
    this.#channels.get(channelName)?.unsubscribe();
  }

  /**
   * The subscription to a channel, if there is one.
   *
   * @param {string} channelName
   * @returns {Subscription | undefined}
   */
  getSubscription(channelName) {
    return this.#channels.get(channelName);
  }

  /**
   * Send a message to a channel. A page need not be subscribed to it.
   *
   * @param {string} channelName
   * @param {any} payload Any JSON value.
   * @returns {Promise<void>} Resolved when the server has taken it; rejected with a `HookboxError`.
   */
  publish(channelName, payload) {
    return this.#request("PUBLISH", { channel_name: channelName }, payload);
  }

  /**
   * Send a message to a user.
   *
   * @param {string} name
   * @param {any} payload Any JSON value.
   * @returns {Promise<void>} As that of `publish()`.
   */
  message(name, payload) {
    return this.#request("MESSAGE", { name }, payload);
  }

  // ---- the link's events --------------------------------------------------------------------

  #connected(args) {
    // The genuine server of 2010 does not acknowledge; it does not give its version either.
    this.#acknowledges = args.version !== undefined;
    const { name, ...rest } = args;
    this.emit("connected", { user: name, ...rest });
    if (!this.connected) {
      return; // a listener has closed it
    }
    this.#channels.ready = true;
    this.#channels.connected(this.#acknowledges);
    for (const [id, name, frameArgs] of this.#outbox.splice(0)) {
      this.#transmit(id, name, frameArgs);
    }
  }

  #detached(wasConnected) {
    this.#channels.ready = false;
    this.#detaching = true;
    // Nobody knows whether these reached the server: sending them again could double them.
    const error = wasConnected ? new HookboxError("The connection was lost.", "connection_lost") : null;
    this.#pending.lost(error);
  }

  /** The link has a new status, which follows each loss at once. */
  #status(status) {
    const over = status === "closed";
    if (over) {
      this.#channels.closed = this.#refusal ?? closed();
    }
    if (this.#detaching || over) {
      this.#detaching = false;
      this.#channels.detached(over);
    }
    if (status === this.status) {
      this.emit("status", status); // unless a subscription's listener has changed it
    }
  }

  #lost(code, reason, reconnecting) {
    if (!reconnecting) {
      this.#outbox = [];
      this.#pending.lost(closed());
    }
    this.emit("disconnected", { code, reason, reconnecting });
  }

  // ---- publications and messages ------------------------------------------------------------

  /** Send a frame, now or when there is a connection, and promise its answer. */
  #request(name, about, payload) {
    let args;
    try {
      // `undefined` is no JSON value.
      args = { ...about, payload: JSON.stringify(payload) ?? "null" };
    } catch (error) {
      return Promise.reject(error); // nor are some others
    }
    if (this.status === "closed") {
      return Promise.reject(closed());
    }
    if (!this.connected) {
      this.#outbox = this.#outbox.filter(([id]) => this.#pending.has(id)); // the others gave up
      if (this.#outbox.length >= this.#options.keep) {
        const error =
          this.#options.keep > 0
            ? new HookboxError("Too much waits for the connection.", "limit")
            : new HookboxError("There is no connection.", "offline");
        return Promise.reject(error);
      }
    }
    const id = this.#link.nextId();
    const promise = this.#pending.promise(id, (answer) => {
      const subscription = this.#channels.get(args.channel_name);
      if (subscription?.status === "subscribed") {
        subscription.position.published(answer);
      }
    });
    if (this.#channels.ready) {
      this.#transmit(id, name, args);
    } else {
      this.#outbox.push([id, name, args]);
    }
    return promise;
  }

  #transmit(id, name, args) {
    if (!this.#pending.has(id)) {
      return; // it has waited too long, and its sender knows
    }
    this.#link.send(name, args, id);
    if (!this.#acknowledges) {
      this.#pending.settle(id, null);
    }
  }

  // ---- frames from the server ---------------------------------------------------------------

  #receive(name, args) {
    switch (name) {
      case "ACK":
        this.#pending.settle(args.id, null, args);
        break;
      case "ERROR":
        this.#failed(args);
        break;
      case "CHANNEL_INIT":
        this.#channels.of(args.channel_name).initialData = args.initial_data;
        break;
      case "MESSAGE":
        this.emit("message", args);
        break;
      case "SUBSCRIBE":
      case "UNSUBSCRIBE":
        if (args.user === this.user) {
          this.#channels.own(name, args);
          break;
        }
      // falls through: somebody else's
      case "PUBLISH":
      case "STATE_UPDATE":
        this.#channels.get(args.channel_name)?.receive(name, args);
        break;
    }
  }

  #failed(args) {
    const error = errorOf(args);
    if (!this.#pending.settle(args.id, error, args)) {
      this.#tell("error", error);
    }
    if (error.code === "session_expired") {
      this.#link.sessionChanged();
    }
  }

  #hint(channelName, { message, code, help }) {
    const { hint, logger = console } = this.#options;
    if (hint) {
      logger.warn(`hookbox: ${channelName}: ${message} ${code === "refused" ? hint : `See ${help}`}`);
    }
  }

  /** Emit a failure; with `debug` the console has what nobody listens to. */
  #tell(event, error) {
    if (!this.emit(event, error)) {
      this.#options.logger?.warn(`hookbox: ${error.message} (${error.code}, see ${error.help})`);
    }
  }
}

/**
 * Make a link with the transports that there are. The tab that leads makes one more, for all tabs.
 *
 * @type {OpenLink}
 */
function openLink(url, options, environment, events) {
  return new Link(url, options, new Route(options, environment, openLink), environment, events);
}

/** A function of the window: browsers insist that it is called as such. */
function own(name) {
  return (...args) => globalThis[name](...args);
}

/** The browser's storage, which it may keep closed. */
function storage() {
  try {
    return globalThis.window?.localStorage;
  } catch {
    return undefined;
  }
}
