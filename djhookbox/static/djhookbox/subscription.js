import { Emitter } from "./emitter.js";
import { HookboxError } from "./errors.js";
import { messageStream } from "./message_stream.js";
import { Position } from "./position.js";

/** @import { Channels } from "./channels.js" */

/**
 * The status of a subscription. `waiting`: there is no connection at the moment; `leaving`: the page
 * no longer receives messages, and the server has not confirmed it yet.
 *
 * @typedef {"waiting" | "subscribing" | "subscribed" | "leaving" | "refused" | "unsubscribed"} Status
 */

/** The statuses that can follow each status. @type {Record<Status, Status[]>} */
const NEXT = {
  waiting: ["subscribing", "subscribed", "unsubscribed"],
  subscribing: ["waiting", "subscribed", "leaving", "refused", "unsubscribed"],
  subscribed: ["waiting", "leaving", "refused", "unsubscribed"],
  leaving: ["waiting", "subscribing", "subscribed", "unsubscribed"],
  refused: ["waiting", "subscribing", "subscribed", "unsubscribed"],
  unsubscribed: ["waiting", "subscribing", "subscribed"],
};

/**
 * A message, as in `messages` and for listeners of `publish`.
 *
 * @typedef {object} Message
 * @property {any} payload
 * @property {string} [user] The publisher; missing on anonymous channels.
 * @property {string} datetime ISO 8601, UTC.
 * @property {number} [offset] Its number, on channels with a stream.
 * @property {number | null} [missed] Only in `for await`, on the first message after a gap: how many
 *   messages are missing before it, or null if unknown.
 */

/**
 * The events of a subscription.
 *
 * @typedef {object} SubscriptionEvents
 * @property {Status} status
 * @property {Subscription} subscribed `history`, `presence` and `state` are up to date. Also after
 *   each reconnect, after `publish` for each missed message.
 * @property {HookboxError} refused
 * @property {Message} publish
 * @property {{ missed: number | null, channel: string }} gap The number of missed messages
 *   that the server no longer has, or null if unknown.
 * @property {{ user: string }} join
 * @property {{ user: string }} leave
 * @property {string[]} presence
 * @property {{ updates: Record<string, any>, deletes: string[] }} state
 * @property {{ reason?: string }} unsubscribed
 */

/**
 * The page's subscription to a channel, from `connection.subscribe()`. It remains across reconnects.
 * Use its events, or `for await (const message of subscription)`.
 *
 * @extends {Emitter<SubscriptionEvents>}
 */
export class Subscription extends Emitter {
  /** The names of the subscribed users, if the channel has presence. @type {string[]} */
  presence = [];

  /** Past messages, joins and leaves, oldest first. @type {[string, any][]} */
  history = [];

  /** The number of entries that the channel's history keeps. */
  historySize = 0;

  /** The `initial_data` of the channel; undefined if there is none. @type {any} */
  initialData = undefined;

  /** The error of the last refusal. @type {HookboxError | null} */
  refusal = null;

  /**
   * Whether the last snapshot continued where the page was, with nothing missing.
   *
   * @type {boolean}
   */
  recovered = false;

  /** @internal Whether the page wants to be subscribed, now and after each reconnect. */
  wanted = false;

  /** @internal The number of `subscribe()` calls that have not been undone. */
  handles = 0;

  /** The `subscribe()` calls without a signal among them. */
  #plain = 0;
  /** The calls with a signal that has not been aborted, whether or not `unsubscribe()` undid them. */
  #signals = 0;
  /** Aborted when the page leaves, so that signals no longer keep this object. */
  #stay = new AbortController();

  /** @internal */
  position = new Position();

  /** A Map, because keys come from users: `__proto__` is a key like any other. */
  #state = new Map();
  /** @type {Status} */
  #status = "waiting";
  #channels;

  /**
   * @internal
   * @param {string} channelName
   * @param {Channels} channels Its owner.
   */
  constructor(channelName, channels) {
    super();
    /** The channel's name. */
    this.channelName = channelName;
    this.#channels = channels;
  }

  /** The status of the subscription. @returns {Status} */
  get status() {
    return this.#status;
  }

  /**
   * Resolves when subscribed; rejects if the subscription is refused, or ends before that.
   *
   * @returns {Promise<this>}
   */
  get ready() {
    return new Promise((resolve, reject) => {
      const look = () => {
        const { over } = this;
        if (over) {
          reject(over);
        } else if (this.#status === "subscribed") {
          resolve(this);
        } else {
          return;
        }
        this.off("status", look);
      };
      this.on("status", look);
      look();
    });
  }

  /**
   * Why the page will not receive any more messages; null if it can.
   *
   * @internal
   * @returns {HookboxError | null}
   */
  get over() {
    if (this.#status === "refused") {
      return this.refusal;
    }
    if (this.#status === "leaving" || this.#status === "unsubscribed") {
      return new HookboxError("The subscription has ended.", "closed");
    }
    return this.#status === "waiting" ? this.#channels.closed : null;
  }

  /**
   * The shared state of the channel, as an object without a prototype.
   *
   * @returns {Record<string, any>}
   */
  get state() {
    return { __proto__: null, ...Object.fromEntries(this.#state) };
  }

  /** The messages of the history. @returns {Message[]} */
  get messages() {
    return this.history.filter(([type]) => type === "PUBLISH").map(([, message]) => message);
  }

  /**
   * Subscribe again, after a refusal or after `unsubscribe()`.
   *
   * @returns {Subscription} This subscription, unless another one has replaced it.
   */
  subscribe() {
    return this.#channels.subscribe(this);
  }

  /**
   * Undo one `connection.subscribe()`. After the last one, the page leaves the channel, and listeners
   * are not called any more.
   */
  unsubscribe() {
    this.#plain = Math.max(0, this.#plain - 1);
    this.#release();
  }

  /**
   * Publish a message to the channel.
   *
   * @param {any} payload Any JSON value.
   * @param {{ key?: string }} [options] As in `Connection.publish()`.
   * @returns {Promise<void>} Resolves when the server has accepted it; rejects with a `HookboxError`.
   */
  publish(payload, options) {
    return this.#channels.publish(this.channelName, payload, options);
  }

  /**
   * Iterate over the subsequent messages, until the subscription or the connection ends. Throws if
   * either is refused.
   *
   * @returns {AsyncIterableIterator<Message>}
   */
  [Symbol.asyncIterator]() {
    return messageStream(this);
  }

  // The following methods are called by the connection.

  /**
   * Count a `subscribe()`. Aborting its signal undoes it, unless `unsubscribe()` has done so before:
   * nobody says whose call that undoes, so it counts for the signal that is aborted first.
   *
   * @internal
   * @param {AbortSignal} [signal]
   */
  hold(signal) {
    this.handles += 1;
    if (!signal) {
      this.#plain += 1;
      return;
    }
    this.#signals += 1;
    const undo = () => {
      this.#signals -= 1;
      if (this.handles > this.#plain + this.#signals) {
        this.#release();
      }
    };
    signal.addEventListener("abort", undo, { signal: this.#stay.signal });
  }

  /**
   * Change the status, if the table allows it, and notify the listeners.
   *
   * @internal
   * @param {Status} status
   * @returns {boolean} Whether the page left this status unchanged.
   */
  enter(status) {
    if (NEXT[this.#status].includes(status)) {
      this.#status = status;
      this.emit("status", status);
    }
    return this.#status === status;
  }

  /**
   * Handle a snapshot from the server: the page is now subscribed.
   *
   * @internal
   * @param {Record<string, any>} args
   */
  begin(args) {
    const interrupted = this.#status !== "subscribed";
    this.wanted = true;
    this.presence = [...(args.presence ?? [])];
    this.history = [...(args.history ?? [])];
    this.historySize = args.history_size ?? 0;
    if ("initial_data" in args) {
      this.initialData = args.initial_data;
    }
    this.#state = new Map(Object.entries(args.state ?? {}));
    const { missed, messages, hole } = this.position.snapshot(args, interrupted);
    this.recovered = args.recovered !== undefined && missed === 0;
    this.#catchUp(missed, messages);
    if (hole && this.#status === "subscribed") {
      this.#channels.recover(this);
    }
  }

  /**
   * Continue where the page was, because the site did not let it leave.
   *
   * @internal
   */
  stay() {
    if (this.enter("subscribed")) {
      this.wanted = true;
      if (this.position.cursor === undefined) {
        this.emit("gap", { missed: null, channel: this.channelName });
      } else {
        this.#channels.recover(this);
      }
    }
  }

  /** @internal Notify the listeners of a snapshot. */
  announce() {
    this.emit("subscribed", this);
    this.emit("presence", this.presence);
  }

  /**
   * Handle a frame of the channel.
   *
   * @internal
   * @param {string} name
   * @param {Record<string, any>} args
   */
  receive(name, args) {
    if (this.#status !== "subscribed") {
      return;
    }
    switch (name) {
      case "PUBLISH":
        this.#published(args);
        break;
      case "SUBSCRIBE":
      case "UNSUBSCRIBE": {
        const present = new Set(this.presence);
        const joins = name === "SUBSCRIBE";
        joins ? present.add(args.user) : present.delete(args.user);
        this.presence = [...present];
        this.emit(joins ? "join" : "leave", args);
        this.emit("presence", this.presence);
        break;
      }
      case "STATE_UPDATE":
        for (const key of args.deletes ?? []) {
          this.#state.delete(key);
        }
        for (const [key, value] of Object.entries(args.updates ?? {})) {
          this.#state.set(key, value);
        }
        this.emit("state", args);
        break;
    }
  }

  /**
   * Handle the end of the subscription, by the page or by the site.
   *
   * @internal
   * @param {Record<string, any>} args
   */
  end(args) {
    this.presence = [];
    this.position.forget();
    this.enter("unsubscribed") && this.emit("unsubscribed", args);
  }

  /** Leave the channel if nobody holds it any more. */
  #release() {
    this.handles = Math.max(0, this.handles - 1);
    if (this.handles === 0) {
      this.#stay.abort();
      this.#stay = new AbortController();
      this.#plain = this.#signals = 0;
      this.#channels.leave(this);
    }
  }

  /**
   * Emit what the page missed, until the page leaves.
   *
   * @param {number | null} missed
   * @param {any[]} messages
   */
  #catchUp(missed, messages) {
    if (!this.enter("subscribed")) {
      return;
    }
    if (missed !== 0) {
      this.emit("gap", { missed, channel: this.channelName });
    }
    for (const message of messages) {
      if (this.#status !== "subscribed") {
        return;
      }
      this.position.reach(message.offset);
      this.emit("publish", { channel_name: this.channelName, ...message });
    }
    if (this.#status === "subscribed") {
      this.announce();
    }
  }

  /** @param {Record<string, any>} args */
  #published(args) {
    const verdict = this.position.live(args);
    if (verdict === "emit") {
      this.#remember(args);
      this.emit("publish", args);
    } else if (verdict === "hole") {
      this.#channels.recover(this);
    }
  }

  /** @param {Record<string, any>} message */
  #remember({ user, payload, datetime }) {
    if (this.historySize > 0) {
      const entry = user === undefined ? { payload, datetime } : { user, payload, datetime };
      this.history.push(["PUBLISH", entry]);
      this.history = this.history.slice(-this.historySize);
    }
  }
}
