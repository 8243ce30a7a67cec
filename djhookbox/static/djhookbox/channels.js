import { Backoff } from "./backoff.js";
import { errorOf } from "./errors.js";
import { PASSING } from "./link.js";
import { Subscription } from "./subscription.js";

/** So many channels fit into one SUBSCRIBE frame. */
const BATCH = 256;

/**
 * What channels need of their connection.
 *
 * @typedef {object} Surroundings
 * @property {() => boolean} isConnected
 * @property {(name: string, args: Record<string, any>) => number} send
 * @property {(channelName: string, payload: any) => Promise<void>} publish
 * @property {(event: string, detail: any) => boolean} emit
 * @property {() => number} random
 */

/** The subscriptions of a page: what it wants, what it has asked for, and what it was told. */
export class Channels {
  /** @type {Map<string, Subscription>} Channel names come from users: a Map. */
  #subscriptions = new Map();
  /** @type {Map<number, Set<Subscription>>} SUBSCRIBE frames that have no answer yet. */
  #asked = new Map();
  /** @type {Map<number, Subscription>} UNSUBSCRIBE frames that have no answer yet. */
  #left = new Map();
  /** Whether the server takes many channels in one frame. */
  #batches = false;

  #surroundings;
  #timers;
  #cursors;
  #retries;

  /**
   * @param {Surroundings} surroundings
   * @param {import("./timers.js").Timers} timers
   * @param {Record<string, string>} cursors Where the site's pages begin to read.
   */
  constructor(surroundings, timers, cursors) {
    this.#surroundings = surroundings;
    this.#timers = timers;
    this.#cursors = new Map(Object.entries(cursors));
    this.#retries = new Backoff({ random: surroundings.random });
  }

  /**
   * The subscription to a channel, if there is one.
   *
   * @param {string} channelName
   * @returns {Subscription | undefined}
   */
  get(channelName) {
    return this.#subscriptions.get(channelName);
  }

  /**
   * The subscription to a channel, new if need be.
   *
   * @param {string} channelName
   * @returns {Subscription}
   */
  of(channelName) {
    let subscription = this.#subscriptions.get(channelName);
    if (!subscription) {
      subscription = new Subscription(channelName, {
        subscribe: (which) => this.want(which),
        unsubscribe: (which) => this.leave(which),
        recover: (which) => this.#ask([which]),
        publish: this.#surroundings.publish,
      });
      subscription.position.cursor = this.#cursors.get(channelName) ?? "";
      this.#cursors.delete(channelName);
      this.#subscriptions.set(channelName, subscription);
      this.#surroundings.emit("subscription", subscription);
    }
    return subscription;
  }

  /**
   * There is a connection: ask for all that wait.
   *
   * @param {boolean} batches
   */
  connected(batches) {
    this.#batches = batches;
    this.#askAll();
  }

  /** The connection has gone, with what was on the way. */
  detached() {
    this.#asked.clear();
    this.#left.clear();
    this.#timers.stop(this);
    for (const subscription of this.#subscriptions.values()) {
      subscription.leaving = false;
      subscription.position.awaited = false;
      subscription.status = subscription.wanted ? "waiting" : "unsubscribed";
    }
  }

  /** @param {Subscription} subscription */
  want(subscription) {
    subscription.wanted = true;
    if (subscription.status === "subscribed" && !subscription.leaving) {
      // Subscribed by the site or by another page: the caller still expects the event.
      queueMicrotask(() => subscription.status === "subscribed" && subscription.announce());
    } else if (subscription.status !== "subscribing" || subscription.leaving) {
      subscription.status = "waiting";
      if (this.#surroundings.isConnected()) {
        this.#ask([subscription]);
      }
    }
  }

  /** @param {Subscription} subscription */
  leave(subscription) {
    subscription.wanted = false;
    subscription.position.forget();
    const inside = ["subscribed", "subscribing"].includes(subscription.status);
    if (this.#surroundings.isConnected() && inside) {
      subscription.leaving = true;
      const id = this.#surroundings.send("UNSUBSCRIBE", { channel_name: subscription.channelName });
      this.#left.set(id, subscription);
    } else if (subscription.status !== "unsubscribed") {
      subscription.end({});
    }
  }

  /**
   * Take in a frame about the page's own subscription.
   *
   * @param {string} name
   * @param {Record<string, any>} args
   */
  own(name, args) {
    if (name === "SUBSCRIBE") {
      const subscription = this.of(args.channel_name);
      this.#retries.reset();
      subscription.begin(args);
      this.#surroundings.emit("subscribed", subscription);
    } else {
      this.#ended(args);
    }
  }

  /**
   * A frame was carried out; say whether it was one of ours.
   *
   * @param {number} id
   */
  acknowledged(id) {
    return this.#asked.delete(id) || this.#stayed(id);
  }

  /**
   * A frame failed, or a part of it; say whether it was one of ours and who was told.
   *
   * @param {Record<string, any>} args
   * @returns {"not ours" | "told" | "untold"} `untold`: nobody listens to it yet.
   */
  failed(args) {
    const asked = this.#asked.get(args.id);
    if (!asked) {
      return this.#stayed(args.id) ? "untold" : "not ours";
    }
    const named = args.channel_name !== undefined;
    const failed = [...asked].filter((one) => !named || one.channelName === args.channel_name);
    if (!named) {
      this.#asked.delete(args.id);
    }
    const told = failed.map((subscription) => this.#refused(subscription, errorOf(args)));
    return told.every(Boolean) ? "told" : "untold";
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

  #askAll() {
    const waiting = [...this.#subscriptions.values()].filter((one) => one.status === "waiting");
    const size = this.#batches ? BATCH : 1;
    for (let start = 0; start < waiting.length; start += size) {
      this.#ask(waiting.slice(start, start + size));
    }
  }

  /** @param {Subscription[]} subscriptions As many as fit into one frame. */
  #ask(subscriptions) {
    const requests = subscriptions.map((subscription) => {
      if (subscription.status !== "subscribed") {
        subscription.status = "subscribing";
      }
      const { channelName, position } = subscription;
      const since = position.cursor;
      position.awaited = since !== undefined;
      return since === undefined ? { channel_name: channelName } : { channel_name: channelName, since };
    });
    const args = requests.length === 1 ? requests[0] : { channels: requests };
    this.#asked.set(this.#surroundings.send("SUBSCRIBE", args), new Set(subscriptions));
  }

  /**
   * @param {Subscription} subscription
   * @param {import("./errors.js").HookboxError} error
   * @returns {boolean} Whether somebody was told.
   */
  #refused(subscription, error) {
    subscription.position.awaited = false;
    if (!subscription.wanted) {
      subscription.status = "unsubscribed";
      return true;
    }
    if (PASSING.has(error.code)) {
      // The site is out of order for a moment: ask again, each page at a time of its own.
      subscription.status = "waiting";
      if (!this.#timers.has(this)) {
        this.#timers.start(this, this.#retries.next(), () => this.#askAll());
      }
      return false;
    }
    subscription.status = "refused";
    return subscription.emit("refused", error);
  }

  #ended(args) {
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
    this.#surroundings.emit("unsubscribed", subscription);
  }
}
