import { Emitter } from "./emitter.js";
import { HookboxError } from "./errors.js";
import { messageStream } from "./message_stream.js";
import { Position } from "./position.js";

/** @import { Channels } from "./channels.js" */

/**
 * Where a subscription stands. `waiting`: there is no connection at the moment; `leaving`: the page
 * hears nothing of the channel any more, and the server has not confirmed it yet.
 *
 * @typedef {"waiting" | "subscribing" | "subscribed" | "leaving" | "refused" | "unsubscribed"} Status
 */

/** The statuses that may follow each. @type {Record<Status, Status[]>} */
const NEXT = {
  waiting: ["subscribing", "subscribed", "unsubscribed"],
  subscribing: ["waiting", "subscribed", "leaving", "refused", "unsubscribed"],
  subscribed: ["waiting", "leaving", "refused", "unsubscribed"],
  leaving: ["waiting", "subscribing", "subscribed", "unsubscribed"],
  refused: ["waiting", "subscribing", "subscribed", "unsubscribed"],
  unsubscribed: ["waiting", "subscribing", "subscribed"],
};

/**
 * A message, as `publish` listeners and `messages` have it.
 *
 * @typedef {object} Message
 * @property {any} payload
 * @property {string} [user] Who published; missing on anonymous channels.
 * @property {string} datetime ISO 8601, UTC.
 * @property {number} [offset] Its number, on channels with history.
 * @property {number | null} [missed] In `for await` only, and only on the first message after a
 *   gap: how many are missing before it, null if nobody knows.
 */

/**
 * The events of a subscription.
 *
 * @typedef {object} SubscriptionEvents
 * @property {Status} status
 * @property {Subscription} subscribed `history`, `presence` and `state` are fresh; also after each
 *   reconnect, then after what was missed has been told by `publish`.
 * @property {HookboxError} refused
 * @property {Message} publish
 * @property {{ missed: number | null, channel: string }} gap The server does not have any more what
 *   was published meanwhile: so many, or null if nobody knows.
 * @property {{ user: string }} join
 * @property {{ user: string }} leave
 * @property {string[]} presence
 * @property {{ updates: Record<string, any>, deletes: string[] }} state
 * @property {{ reason?: string }} unsubscribed
 */

/**
 * The page's view of one channel. Made by `connection.subscribe()`, and kept across reconnects.
 * Besides its events it can be read with `for await (const message of subscription)`.
 *
 * @extends {Emitter<SubscriptionEvents>}
 */
export class Subscription extends Emitter {
  /** The names of those who are there, if the channel has presence. @type {string[]} */
  presence = [];

  /** Past messages and comings and goings, oldest first. @type {[string, any][]} */
  history = [];

  /** How many entries of history the channel keeps. */
  historySize = 0;

  /** What the channel's `initial_data` said; undefined where it said nothing. @type {any} */
  initialData = undefined;

  /** What it was refused with last. @type {HookboxError | null} */
  refusal = null;

  /**
   * Whether the last snapshot took up where the page was, with nothing missing in between.
   *
   * @type {boolean}
   */
  recovered = false;

  /** @internal Whether the page wants to be subscribed, now and after each reconnect. */
  wanted = false;

  /** @internal How many parts of the page have subscribed and not unsubscribed. */
  handles = 0;

  /** @internal */
  position = new Position();

  /** Keys come from users, so this is a Map: `__proto__` is a key like any other. */
  #state = new Map();
  /** @type {Status} */
  #status = "waiting";
  #channels;

  /**
   * @internal
   * @param {string} channelName
   * @param {Channels} channels What does for it what it cannot do itself.
   */
  constructor(channelName, channels) {
    super();
    /** The channel's name. */
    this.channelName = channelName;
    this.#channels = channels;
  }

  /** Where it stands. @returns {Status} */
  get status() {
    return this.#status;
  }

  /**
   * Resolved when subscribed; rejected with what it is refused with, or when it ends before that.
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
   * What keeps the page from hearing anything more; null while it hears, or may yet.
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
   * The channel's shared state, as an object without a prototype.
   *
   * @returns {Record<string, any>}
   */
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

  /**
   * Ask again, after a refusal or after `unsubscribe()`.
   *
   * @returns {Subscription} The channel's: this one, unless another has taken its place.
   */
  subscribe() {
    return this.#channels.subscribe(this);
  }

  /**
   * Take back one `connection.subscribe()`. With the last one the page leaves the channel, and
   * nothing of it is told any more.
   */
  unsubscribe() {
    this.handles = Math.max(0, this.handles - 1);
    if (this.handles === 0) {
      this.#channels.leave(this);
    }
  }

  /**
   * Send a message to everyone on the channel.
   *
   * @param {any} payload Any JSON value.
   * @returns {Promise<void>} Resolved when the server has taken it; rejected with a `HookboxError`.
   */
  publish(payload) {
    return this.#channels.publish(this.channelName, payload);
  }

  /**
   * The messages from now on, until the subscription or the connection ends; throws what either is
   * refused with.
   *
   * @returns {AsyncIterableIterator<Message>}
   */
  [Symbol.asyncIterator]() {
    return messageStream(this);
  }

  // What follows is the connection's to call.

  /**
   * Change the status, where the table allows it, and tell the listeners.
   *
   * @internal
   * @param {Status} status
   * @returns {boolean} Whether it is the status now, after what the page did about it.
   */
  enter(status) {
    if (NEXT[this.#status].includes(status)) {
      this.#status = status;
      this.emit("status", status);
    }
    return this.#status === status;
  }

  /**
   * Take in the server's snapshot: the page is subscribed from here on.
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
   * The site does not let the page leave: it takes up where it was.
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

  /** @internal Tell the listeners that the snapshot is there. */
  announce() {
    this.emit("subscribed", this);
    this.emit("presence", this.presence);
  }

  /**
   * Take in a channel's frame.
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
   * The own subscription has ended, by the page's wish or by the site's.
   *
   * @internal
   * @param {Record<string, any>} args
   */
  end(args) {
    this.presence = [];
    this.position.forget();
    this.enter("unsubscribed") && this.emit("unsubscribed", args);
  }

  /**
   * Tell the page what it missed, until it does not want to hear it.
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
