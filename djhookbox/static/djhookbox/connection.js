import { Channels } from "./channels.js";
import { Emitter } from "./emitter.js";
import { closed, errorOf, HookboxError } from "./errors.js";
import { Link } from "./link.js";
import { PendingRequests } from "./pending_requests.js";
import { Route } from "./route.js";
import { Timers } from "./timers.js";

/**
 * @import { Backoff } from "./backoff.js"
 * @import { LinkEvents, LinkStatus } from "./link.js"
 * @import { OpenLink } from "./route.js"
 * @import { Subscription } from "./subscription.js"
 * @import { Transport } from "./websocket_transport.js"
 */

/**
 * The options of a connection; all have defaults.
 *
 * @typedef {object} ConnectionOptions
 * @property {string | (() => string | Promise<string>)} [token] Identifies the user if the
 *   client sends no cookies; a function is called for each connection, because tokens are short-lived.
 * @property {string} [user] The name of the user, if `{% hookbox_script %}` does not provide it: another
 *   name gets another connection, and tabs with the same name can share one.
 * @property {boolean} [perConnection] With false, subscriptions belong to all pages of the user
 *   that also use false, as in 2011.
 * @property {any} [payload] Sent with the connect webhook.
 * @property {string} [cookieString] Cookies that the handshake does not contain.
 * @property {number} [timeout] Milliseconds to wait for an answer (15 000).
 * @property {{ interval?: number, timeout?: number }} [heartbeat] Milliseconds between pings
 *   (25 000; 0 disables them), and to wait for their answer (10 000).
 * @property {number} [keep] How many publications and messages may wait for a connection (100);
 *   with 0, they are rejected immediately without a connection.
 * @property {boolean} [shared] Share one connection among the browser's tabs of the same user.
 * @property {boolean} [debug] Show all frames, and errors without a listener, in the console.
 * @property {{ debug: Function, warn: Function }} [logger] Use this instead of the console.
 * @property {string} [hint] How to allow refused subscriptions, from a site with DEBUG; each refusal is
 *   shown in the console with this text.
 * @property {("websocket" | "streaming" | "polling")[]} [transports] The transports to try, in order.
 * @property {Record<string, string>} [cursors] The cursors at which to start, by channel name.
 * @property {new (...args: any[]) => Transport} [transport]
 *   A class to use instead of all transports.
 * @property {Backoff} [backoff]
 * @property {any} [WebSocket] The class to use, for example that of `ws` in Node.
 * @property {Record<string, any>} [environment] `WebSocket`, `fetch`, timers, `random`, `now`,
 *   `storage`, `window`, `document`; by default, those of the browser.
 */

/**
 * The events of a connection.
 *
 * @typedef {object} ConnectionEvents
 * @property {LinkStatus} status
 * @property {{ user: string, payload?: any, [more: string]: any }} connected
 * @property {{ code: number, reason: string, reconnecting: boolean }} disconnected Once per outage.
 * @property {{ code: number, reason: string }} sessionended The session or the account has
 *   ended; after a new login, `connect()` continues where it was.
 * @property {HookboxError} refused The site refused the connection.
 * @property {HookboxError} error A failure that no subscription and no promise reports.
 * @property {{ sender: string, recipient: string, payload: any, datetime: string }} message
 * @property {Subscription} subscribed Includes channels that the site
 *   subscribed the user to.
 * @property {Subscription} unsubscribed
 */

/**
 * The page's connection to the Hookbox process. It reconnects automatically.
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
  /** Whether the channels have not been notified yet that the connection has ended. */
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
      this,
      {
        send: (name, args) => this.#link.send(name, args),
        random: environment.random,
        hint: (channelName, error) => this.#hint(channelName, error),
      },
      this.#pending,
      new Timers(environment),
      options.cursors ?? {},
    );
    this.#link = openLink(url, this.#options, environment, this.#events());
  }

  /** The status of the connection. @returns {LinkStatus} */
  get status() {
    return this.#link.status;
  }

  /** Whether frames can be exchanged. @returns {boolean} */
  get connected() {
    return this.#link.status === "connected";
  }

  /** The name of this page's user; null before the first connection. @returns {string | null} */
  get user() {
    return this.#link.user;
  }

  /** The transport in use: `websocket`, `streaming`, `polling`, `shared`. @returns {string} */
  get transport() {
    return this.#link.transport;
  }

  /**
   * Connect, or connect again after `disconnect()` or a refusal. If a reconnect is already
   * scheduled, try immediately where possible.
   *
   * @returns {this}
   */
  connect() {
    this.#channels.closed = this.#refusal = null;
    this.#link.open();
    return this;
  }

  /** Close the connection for good. Listeners are not called afterwards. */
  disconnect() {
    this.#link.close();
    this.hush();
  }

  /**
   * Take over the configuration of a newer page.
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
   * Calls are counted: the page leaves the channel after the same number of `unsubscribe()` calls.
   *
   * @param {string} channelName
   * @param {{ since?: string, signal?: AbortSignal }} [options] `since`: a cursor from
   *   `djhookbox.cursor()` at which to start. `signal`: unsubscribe when this is aborted.
   * @returns {Subscription} The subscription to that channel.
   */
  subscribe(channelName, { since, signal } = {}) {
    if (typeof channelName !== "string" || !channelName) {
      throw new TypeError("A channel name must be a non-empty string.");
    }
    const subscription = this.#channels.of(channelName);
    if (subscription.status === "leaving") {
      subscription.clear(); // earlier listeners have left
    }
    if (since && !subscription.position.cursor) {
      subscription.position.cursor = since;
    }
    if (!signal?.aborted) {
      subscription.hold(signal);
      this.#channels.want(subscription);
    } else if (!subscription.wanted && !subscription.handles) {
      subscription.unsubscribe(); // nobody needs it
    }
    return subscription;
  }

  /**
   * Undo one `subscribe()`. After the last one, the page leaves the channel.
   *
   * @param {string} channelName
   */
  unsubscribe(channelName) {
    this.#channels.get(channelName)?.unsubscribe();
  }

  /**
   * Return the subscription to a channel, if there is one.
   *
   * @param {string} channelName
   * @returns {Subscription | undefined}
   */
  getSubscription(channelName) {
    return this.#channels.get(channelName);
  }

  /**
   * Publish a message to a channel. The page does not have to be subscribed.
   *
   * @param {string} channelName
   * @param {any} payload Any JSON value.
   * @param {{ key?: string }} [options] `key`: if the channel is durable, messages of a user with the
   *   same key are stored once. Use it to send a message again whose answer was lost.
   * @returns {Promise<void>} Resolves when the server has accepted it; rejects with a `HookboxError`.
   */
  publish(channelName, payload, { key } = {}) {
    return this.#request("PUBLISH", { channel_name: channelName, key }, payload);
  }

  /**
   * Send a message to a user.
   *
   * @param {string} name
   * @param {any} payload Any JSON value.
   * @returns {Promise<void>} As in `publish()`.
   */
  message(name, payload) {
    return this.#request("MESSAGE", { name }, payload);
  }

  // ---- the link's events --------------------------------------------------------------------

  /** @returns {LinkEvents} */
  #events() {
    return {
      // A new status follows each loss immediately.
      onStatus: (status) => {
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
      },
      onConnected: ({ name: user, ...rest }) => {
        // The genuine server of 2010 sends neither acknowledgements nor its version.
        this.#acknowledges = rest.version !== undefined;
        this.emit("connected", { user, ...rest });
        if (!this.connected) {
          return; // a listener has closed it
        }
        this.#channels.ready = true;
        this.#channels.connected(this.#acknowledges);
        this.#transmit();
      },
      onFrame: (name, args) => this.#receive(name, args),
      onDetached: (wasConnected) => {
        this.#channels.ready = false;
        this.#detaching = true;
        // These may have reached the server: sending them again could duplicate them.
        this.#pending.lost(wasConnected ? new HookboxError("The connection was lost.", "connection_lost") : null);
      },
      onLost: (code, reason, reconnecting) => {
        if (!reconnecting) {
          this.#outbox = [];
          this.#pending.lost(closed());
        }
        this.emit("disconnected", { code, reason, reconnecting });
      },
      onRefused: (error, forGood) => {
        this.#refusal = forGood ? error : null;
        this.#tell(forGood ? "refused" : "error", error);
      },
      onSessionEnded: (code, reason) => this.emit("sessionended", { code, reason }),
      isIdle: () => !this.#pending.busy,
    };
  }

  // ---- publications and messages ------------------------------------------------------------

  /** Send a frame, now or when there is a connection; return a promise for its answer. */
  async #request(name, about, payload) {
    // `undefined` is not a JSON value; some others throw.
    const args = { ...about, payload: JSON.stringify(payload) ?? "null" };
    if (this.status === "closed") {
      throw closed();
    }
    if (!this.connected) {
      this.#outbox = this.#outbox.filter(([id]) => this.#pending.has(id)); // the others have timed out
      if (this.#outbox.length >= this.#options.keep) {
        throw this.#options.keep > 0
          ? new HookboxError("Too much is waiting for the connection.", "limit")
          : new HookboxError("There is no connection.", "offline");
      }
    }
    const id = this.#link.nextId();
    const promise = this.#pending.promise(id, (answer) => {
      const subscription = this.#channels.get(args.channel_name);
      if (subscription?.status === "subscribed") {
        subscription.position.published(answer);
      }
    });
    this.#outbox.push([id, name, args]);
    if (this.#channels.ready) {
      this.#transmit();
    }
    return promise;
  }

  /** Send what is waiting, except what has timed out: its sender was notified. */
  #transmit() {
    for (const [id, name, args] of this.#outbox.splice(0)) {
      if (this.#pending.has(id)) {
        this.#link.send(name, args, id);
        this.#acknowledges || this.#pending.settle(id, null);
      }
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

  /** Emit a failure; with `debug`, failures without a listener are shown in the console. */
  #tell(event, error) {
    if (!this.emit(event, error)) {
      this.#options.logger?.warn(`hookbox: ${error.message} (${error.code}, see ${error.help})`);
    }
  }
}

/**
 * Create a link. The tab that leads creates one more, for all tabs.
 *
 * @type {OpenLink}
 */
function openLink(url, options, environment, events) {
  return new Link(url, options, new Route(options, environment, openLink), environment, events);
}

/** Wrap a function of the window, because browsers require that `this` is the window. */
function own(name) {
  return (...args) => globalThis[name](...args);
}

/** Return the browser's storage; access to it can be denied. */
function storage() {
  try {
    return globalThis.window?.localStorage;
  } catch {
    return undefined;
  }
}
