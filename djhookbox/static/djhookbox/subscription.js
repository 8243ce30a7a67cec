import { Backoff } from "./backoff.js";
import { Emitter } from "./emitter.js";

/**
 * A message, as `publish` listeners and `messages` have it.
 *
 * @typedef {object} Message
 * @property {any} payload
 * @property {string} [user] Who published; missing on anonymous channels.
 * @property {string} datetime ISO 8601, UTC.
 */

/**
 * The page's view of one channel. Made by `connection.subscribe()`, and kept across reconnects.
 *
 * Events: `subscribed`, also after each reconnect, when `history`, `presence` and `state` are
 * fresh; `refused` (a `HookboxError`); `publish` (a `Message`); `join` and `leave` (`{user}`);
 * `presence` (the names); `state` (`{updates, deletes}`); `unsubscribed` (`{reason?}`).
 *
 * The callbacks of 2011, to be assigned: `onPublish`, `onSubscribe`, `onUnsubscribe`, `onState`.
 */
export class Subscription extends Emitter {
  /**
   * Where it stands. `waiting`: there is no connection at the moment.
   *
   * @type {"waiting" | "subscribing" | "subscribed" | "refused" | "unsubscribed"}
   */
  status = "waiting";

  /** The names of those who are there, if the channel has presence. @type {string[]} */
  presence = [];

  /** Past messages and comings and goings, oldest first. @type {[string, object][]} */
  history = [];

  /** How many entries of history the channel keeps. */
  historySize = 0;

  /** What the channel's `initial_data` said; undefined where it said nothing. */
  initialData = undefined;

  /** Whether the page wants to be subscribed, now and after each reconnect. */
  wanted = false;

  /** Whether an UNSUBSCRIBE is under way. */
  leaving = false;

  /** Keys come from users, so this is a Map: `__proto__` is a key like any other. */
  #state = new Map();
  /** @type {Backoff | null} */
  #retries = null;
  #actions;

  /**
   * @param {string} channelName
   * @param {object} actions What the connection does for its subscriptions.
   * @param {(subscription: Subscription) => void} actions.subscribe
   * @param {(subscription: Subscription) => void} actions.unsubscribe
   * @param {(channelName: string, payload: any) => Promise<void>} actions.publish
   */
  constructor(channelName, actions) {
    super();
    this.channelName = channelName;
    this.#actions = actions;
  }

  /** The channel's shared state, as an object without a prototype. */
  get state() {
    const state = Object.create(null);
    for (const [key, value] of this.#state) {
      state[key] = value;
    }
    return state;
  }

  /** The messages of the history. @returns {Message[]} */
  get messages() {
    return this.history.filter(([type]) => type === "PUBLISH").map(([, message]) => message);
  }

  /** Whether the page does not want this subscription any more (2011's name for it). */
  get canceled() {
    return this.status === "unsubscribed";
  }

  /**
   * Ask again, after a refusal or after `unsubscribe()`.
   *
   * @returns {this}
   */
  subscribe() {
    this.#actions.subscribe(this);
    return this;
  }

  /** Leave the channel. With Hookbox a user leaves with all pages at once. */
  unsubscribe() {
    this.#actions.unsubscribe(this);
  }

  /** 2011's name of `unsubscribe()`. */
  cancel() {
    this.unsubscribe();
  }

  /**
   * Send a message to everyone on the channel.
   *
   * @param {any} payload Any JSON value.
   * @returns {Promise<void>} Resolved when the server has taken it; rejected with a `HookboxError`.
   */
  publish(payload) {
    return this.#actions.publish(this.channelName, payload);
  }

  // What follows is the connection's to call.

  /** Take in the server's snapshot: the page is subscribed from here on. */
  begin(args) {
    this.status = "subscribed";
    this.#retries = null;
    this.presence = [...(args.presence ?? [])];
    this.history = [...(args.history ?? [])];
    this.historySize = args.history_size ?? 0;
    if ("initial_data" in args) {
      this.initialData = args.initial_data;
    }
    this.#state = new Map(Object.entries(args.state ?? {}));
    this.announce();
  }

  /** Tell the listeners that the snapshot is there. */
  announce() {
    this.emit("subscribed", this);
    this.emit("presence", this.presence);
  }

  /** How many milliseconds to wait before asking again, when the site could not answer. */
  retryDelay(random) {
    this.#retries ??= new Backoff({ random });
    return this.#retries.next();
  }

  /** Take in a channel's frame. */
  receive(name, args) {
    switch (name) {
      case "PUBLISH":
        this.#remember(args);
        this.emit("publish", args);
        this.callback("onPublish", args);
        break;
      case "SUBSCRIBE":
        if (!this.presence.includes(args.user)) {
          this.presence = [...this.presence, args.user];
        }
        this.emit("join", args);
        this.emit("presence", this.presence);
        this.callback("onSubscribe", args);
        break;
      case "UNSUBSCRIBE":
        this.presence = this.presence.filter((user) => user !== args.user);
        this.emit("leave", args);
        this.emit("presence", this.presence);
        this.callback("onUnsubscribe", args);
        break;
      case "STATE_UPDATE":
        for (const key of args.deletes ?? []) {
          this.#state.delete(key);
        }
        for (const [key, value] of Object.entries(args.updates ?? {})) {
          this.#state.set(key, value);
        }
        this.emit("state", args);
        this.callback("onState", args);
        break;
    }
  }

  /** The own subscription has ended, by the page's wish or by the site's. */
  end(args) {
    this.status = "unsubscribed";
    this.presence = [];
    this.emit("unsubscribed", args);
    this.callback("onUnsubscribe", args);
  }

  #remember({ user, payload, datetime }) {
    if (this.historySize > 0) {
      const entry = user === undefined ? { payload, datetime } : { user, payload, datetime };
      this.history = [...this.history, ["PUBLISH", entry]].slice(-this.historySize);
    }
  }
}
