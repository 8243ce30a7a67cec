import { Emitter } from "./emitter.js";
import { HookboxError } from "./errors.js";
import { Link, PASSING } from "./link.js";
import { PendingRequests } from "./pending_requests.js";
import { Subscription } from "./subscription.js";
import { Timers } from "./timers.js";

/** How long a frame may go unanswered, also while there is no connection; milliseconds. */
const REQUEST_TIMEOUT = 15_000;

/** How many frames wait for a connection. */
const OUTBOX_SIZE = 100;

/**
 * The page's connection to the Hookbox process; it comes back by itself when it is lost.
 *
 * Events: `connected` (`{user, payload?}`); `disconnected` (`{code, reason, reconnecting}`), once
 * per outage; `status` (the new `status`); `refused` (a `HookboxError`): the site does not let
 * this page connect; `error` (a `HookboxError`): what no subscription and no promise told;
 * `message` (`{sender, recipient, payload, datetime}`); `subscribed` and `unsubscribed` (a
 * `Subscription`), also for channels that the site subscribed the user to.
 *
 * The callbacks of 2011, to be assigned: `onOpen`, `onClose`, `onConnectionLost`, `onError`,
 * `onSubscribed`, `onUnsubscribed`, `onMessaged`.
 */
export class Connection extends Emitter {
  /** @type {Map<string, Subscription>} Channel names come from users: a Map. */
  #subscriptions = new Map();
  /** @type {Map<number, Subscription>} SUBSCRIBE frames that have no answer yet. */
  #asked = new Map();
  /** @type {Map<number, Subscription>} UNSUBSCRIBE frames that have no answer yet. */
  #left = new Map();
  /** @type {[number, string, object][]} Frames that wait for a connection. */
  #outbox = [];

  #environment;
  #link;
  #pending;
  #timers;
  #acknowledges = false;

  /**
   * @param {string} url The server's address, without `/ws`.
   * @param {object} [options]
   * @param {string} [options.token] Who this is, where cookies do not tell.
   * @param {any} [options.payload] Handed to the site's connect webhook.
   * @param {string} [options.cookieString] Cookies that the handshake does not carry.
   * @param {new (...args: any[]) => import("./websocket_transport.js").Transport} [options.transport]
   * @param {import("./backoff.js").Backoff} [options.backoff]
   * @param {Partial<typeof globalThis> & { random?: () => number }} [options.environment]
   *   WebSocket, timers, window, document: the browser's own unless given.
   */
  constructor(url, options = {}) {
    super();
    this.#environment = {
      WebSocket: globalThis.WebSocket,
      // Browsers insist that these are called as the window's own.
      setTimeout: (callback, delay) => globalThis.setTimeout(callback, delay),
      clearTimeout: (timer) => globalThis.clearTimeout(timer),
      window: globalThis.window,
      document: globalThis.document,
      random: Math.random,
      ...options.environment,
    };
    this.#pending = new PendingRequests(this.#environment, REQUEST_TIMEOUT);
    this.#timers = new Timers(this.#environment);
    this.#link = new Link(url, options, this.#environment, {
      onStatus: (status) => this.emit("status", status),
      onConnected: (args) => this.#connected(args),
      onFrame: (name, args) => this.#receive(name, args),
      onDetached: (wasConnected) => this.#detached(wasConnected),
      onLost: (code, reason, reconnecting) => this.#lost(code, reason, reconnecting),
      onRefused: (error, args, forGood) => {
        const heard = this.callback("onError", args);
        this.#tell(forGood ? "refused" : "error", error, heard);
      },
    });
  }

  /** Where the connection stands. @returns {import("./link.js").LinkStatus} */
  get status() {
    return this.#link.status;
  }

  /** Whether frames can be exchanged at this moment. */
  get connected() {
    return this.#link.status === "connected";
  }

  /** The name that the site gave this page's user; null until it did. */
  get user() {
    return this.#link.user;
  }

  /**
   * Connect, also again after `disconnect()` or a refusal, and at once if it was about to.
   *
   * @returns {this}
   */
  connect() {
    this.#link.open();
    return this;
  }

  /** Close the connection for good. */
  disconnect() {
    this.#link.close();
  }

  /**
   * Subscribe to a channel, now or as soon as there is a connection, and again after each reconnect.
   *
   * @param {string} channelName
   * @returns {Subscription} The one of that channel.
   */
  subscribe(channelName) {
    if (typeof channelName !== "string" || channelName === "") {
      throw new TypeError("A channel's name must be a string that is not empty.");
    }
    return this.#subscriptionOf(channelName).subscribe();
  }

  /** Leave a channel. */
  unsubscribe(channelName) {
    this.#subscriptions.get(channelName)?.unsubscribe();
  }

  /** The subscription to a channel, if there is one. @returns {Subscription | undefined} */
  getSubscription(channelName) {
    return this.#subscriptions.get(channelName);
  }

  /**
   * Send a message to a channel. A page need not be subscribed to it.
   *
   * @param {string} channelName
   * @param {any} payload Any JSON value.
   * @returns {Promise<void>} Resolved when the server has taken it; rejected with a `HookboxError`.
   */
  publish(channelName, payload) {
    return this.#request("PUBLISH", { channel_name: channelName, payload: asText(payload) });
  }

  /**
   * Send a message to a user.
   *
   * @param {string} name
   * @param {any} payload Any JSON value.
   * @returns {Promise<void>} As that of `publish()`.
   */
  message(name, payload) {
    return this.#request("MESSAGE", { name, payload: asText(payload) });
  }

  // ---- the link's events --------------------------------------------------------------------

  #connected(args) {
    // The genuine server of 2010 does not acknowledge; it does not give its version either.
    this.#acknowledges = args.version !== undefined;
    this.emit("connected", { user: args.name, payload: args.payload });
    this.callback("onOpen", args);
    if (!this.connected) {
      return; // a listener has closed it
    }
    for (const subscription of this.#subscriptions.values()) {
      if (subscription.status === "waiting") {
        this.#ask(subscription);
      }
    }
    for (const [id, name, frameArgs] of this.#outbox.splice(0)) {
      this.#transmit(id, name, frameArgs);
    }
  }

  #detached(wasConnected) {
    this.#asked.clear();
    this.#left.clear();
    this.#timers.stopAll();
    for (const subscription of this.#subscriptions.values()) {
      subscription.leaving = false;
      subscription.status = subscription.wanted ? "waiting" : "unsubscribed";
    }
    if (wasConnected) {
      // Nobody knows whether these reached the server: sending them again could double them.
      this.#pending.failAll(new HookboxError("The connection was lost.", "connection_lost"));
    }
  }

  #lost(code, reason, reconnecting) {
    if (!reconnecting) {
      this.#outbox = [];
      this.#pending.failAll(new HookboxError("The connection is closed.", "closed"));
    }
    this.emit("disconnected", { code, reason, reconnecting });
    this.callback("onClose", code, reason);
    this.callback("onConnectionLost", reason);
  }

  // ---- publications and messages ------------------------------------------------------------

  /** Send a frame, now or when there is a connection, and promise its answer. */
  #request(name, args) {
    if (this.status === "closed") {
      return Promise.reject(new HookboxError("The connection is closed.", "closed"));
    }
    if (this.#outbox.length >= OUTBOX_SIZE) {
      return Promise.reject(new HookboxError("Too much waits for the connection.", "limit"));
    }
    const id = this.#link.nextId();
    const promise = this.#pending.add(id);
    if (this.connected) {
      this.#transmit(id, name, args);
    } else {
      this.#outbox.push([id, name, args]);
    }
    if (typeof this.onError === "function") {
      promise.catch(() => {}); // pages of 2011 look at no promise: onError tells them
    }
    return promise;
  }

  #transmit(id, name, args) {
    if (!this.#pending.has(id)) {
      return; // it has waited too long, and its sender knows
    }
    this.#link.send(name, args, id);
    if (!this.#acknowledges) {
      this.#pending.succeed(id);
    }
  }

  // ---- frames from the server ---------------------------------------------------------------

  #receive(name, args) {
    const mine = args.user === this.user;
    switch (name) {
      case "ACK":
        this.#acknowledged(args.id);
        break;
      case "ERROR":
        this.#failed(args);
        break;
      case "CHANNEL_INIT":
        this.#subscriptionOf(args.channel_name).initialData = args.initial_data;
        break;
      case "MESSAGE":
        this.emit("message", args);
        this.callback("onMessaged", args);
        break;
      case "SUBSCRIBE":
        mine ? this.#subscribed(args) : this.#pass(name, args);
        break;
      case "UNSUBSCRIBE":
        mine ? this.#unsubscribed(args) : this.#pass(name, args);
        break;
      case "PUBLISH":
      case "STATE_UPDATE":
        this.#pass(name, args);
        break;
    }
  }

  #pass(name, args) {
    this.#subscriptions.get(args.channel_name)?.receive(name, args);
  }

  #acknowledged(id) {
    this.#asked.delete(id);
    this.#stayed(id);
    this.#pending.succeed(id);
  }

  #failed(args) {
    const error = new HookboxError(String(args.msg), args.code ?? "refused");
    const heard = this.callback("onError", args);
    const subscription = this.#asked.get(args.id);
    if (subscription) {
      this.#asked.delete(args.id);
      this.#subscribeFailed(subscription, error, heard);
    } else if (this.#stayed(args.id) || !this.#pending.fail(args.id, error)) {
      this.#tell("error", error, heard);
    }
  }

  /** Emit a failure; the console tells the developer what nobody listens to. */
  #tell(event, error, heard) {
    if (!this.emit(event, error) && !heard) {
      console.warn(`hookbox: ${error.message}`);
    }
  }

  // ---- subscriptions ------------------------------------------------------------------------

  #subscriptionOf(channelName) {
    let subscription = this.#subscriptions.get(channelName);
    if (!subscription) {
      subscription = new Subscription(channelName, {
        subscribe: (which) => this.#want(which),
        unsubscribe: (which) => this.#leave(which),
        publish: (name, payload) => this.publish(name, payload),
      });
      this.#subscriptions.set(channelName, subscription);
    }
    return subscription;
  }

  #want(subscription) {
    subscription.wanted = true;
    if (subscription.status === "subscribed" && !subscription.leaving) {
      // Subscribed by the site or by another page: the caller still expects the event.
      queueMicrotask(() => subscription.status === "subscribed" && subscription.announce());
    } else if (subscription.status !== "subscribing" || subscription.leaving) {
      subscription.status = "waiting";
      if (this.connected) {
        this.#ask(subscription);
      }
    }
  }

  #ask(subscription) {
    this.#timers.stop(subscription);
    subscription.status = "subscribing";
    const id = this.#link.send("SUBSCRIBE", { channel_name: subscription.channelName });
    this.#asked.set(id, subscription);
  }

  #leave(subscription) {
    subscription.wanted = false;
    this.#timers.stop(subscription);
    if (this.connected && ["subscribed", "subscribing"].includes(subscription.status)) {
      subscription.leaving = true;
      const id = this.#link.send("UNSUBSCRIBE", { channel_name: subscription.channelName });
      this.#left.set(id, subscription);
    } else {
      subscription.status = "unsubscribed";
    }
  }

  /** An UNSUBSCRIBE frame has its answer; say whether `id` was one. */
  #stayed(id) {
    const subscription = this.#left.get(id);
    this.#left.delete(id);
    if (subscription) {
      subscription.leaving = false;
    }
    return subscription !== undefined;
  }

  #subscribed(args) {
    const subscription = this.#subscriptionOf(args.channel_name);
    subscription.begin(args);
    this.emit("subscribed", subscription);
    this.callback("onSubscribed", args.channel_name, subscription, args);
  }

  #unsubscribed(args) {
    const subscription = this.#subscriptions.get(args.channel_name);
    if (!subscription) {
      return;
    }
    if (subscription.wanted && subscription.leaving) {
      subscription.leaving = false;
      return; // the page has changed its mind, and its SUBSCRIBE is on the way
    }
    // Whoever ended it, the page does not contradict by subscribing again after a reconnect.
    subscription.wanted = subscription.leaving = false;
    subscription.end(args);
    this.emit("unsubscribed", subscription);
    this.callback("onUnsubscribed", subscription, args);
  }

  #subscribeFailed(subscription, error, heard) {
    if (!subscription.wanted) {
      subscription.status = "unsubscribed";
    } else if (PASSING.has(error.code)) {
      // The site is out of order for a moment: ask again, each page at a time of its own.
      subscription.status = "waiting";
      const delay = subscription.retryDelay(this.#environment.random);
      this.#timers.start(subscription, delay, () => this.#ask(subscription));
      this.#tell("error", error, heard);
    } else {
      subscription.status = "refused";
      if (!subscription.emit("refused", error)) {
        this.#tell("error", error, heard);
      }
    }
  }
}

/** Payloads travel as JSON text; `undefined` is no JSON value. */
function asText(payload) {
  return JSON.stringify(payload) ?? "null";
}
