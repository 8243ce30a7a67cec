import { Backoff } from "./backoff.js";
import { errorOf, PASSING } from "./errors.js";
import { Subscription } from "./subscription.js";

/**
 * @import { HookboxError } from "./errors.js"
 * @import { Timers } from "./timers.js"
 */

/** So many channels fit into one SUBSCRIBE frame. */
const BATCH = 256;

/** What a frame is refused with as a whole: its form, its size, one of its names. */
const UNFIT = new Set(["malformed", "limit"]);

/**
 * What channels need of their connection.
 *
 * @typedef {object} Surroundings
 * @property {() => boolean} isConnected
 * @property {(name: string, args: Record<string, any>) => number} send
 * @property {(channelName: string, payload: any) => Promise<void>} publish
 * @property {(event: string, detail: any) => boolean} emit
 * @property {() => number} random
 * @property {(channelName: string, error: import("./errors.js").HookboxError) => void} hint
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
   * @param {Timers} timers
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
        // Behind an UNSUBSCRIBE it would subscribe again.
        recover: (which) => this.#leaving(which) === undefined && this.#ask([which]),
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
    const leavers = new Set(this.#left.values());
    this.#asked.clear();
    this.#left.clear();
    this.#timers.stop(this);
    for (const subscription of this.#subscriptions.values()) {
      subscription.position.awaited = false;
      const ends = !subscription.wanted && !leavers.has(subscription);
      subscription.status = ends ? "unsubscribed" : "waiting";
    }
    // Who was about to leave is out now; the page hears it when the connection is done with this.
    queueMicrotask(() => leavers.forEach((one) => one.wanted || this.#end(one, {})));
  }

  /** @param {Subscription} subscription */
  want(subscription) {
    subscription.wanted = true;
    const leaving = this.#leaving(subscription) !== undefined;
    if (subscription.status === "subscribed" && !leaving) {
      // Subscribed by the site or by another page: the caller still expects the event.
      queueMicrotask(() => subscription.status === "subscribed" && subscription.announce());
    } else if (subscription.status !== "subscribing" || leaving) {
      subscription.status = "waiting";
      if (this.#surroundings.isConnected()) {
        this.#ask([subscription]);
      }
    }
  }

  /** @param {Subscription} subscription */
  leave(subscription) {
    subscription.wanted = false;
    const inside = ["subscribed", "subscribing"].includes(subscription.status);
    if (this.#surroundings.isConnected() && inside) {
      const id = this.#surroundings.send("UNSUBSCRIBE", { channel_name: subscription.channelName });
      this.#left.set(id, subscription);
    } else {
      this.#end(subscription, {});
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
      if (subscription.position.awaited && !args.recovered) {
        return; // made for others: the one that continues from where the page is follows
      }
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
    if (this.#asked.delete(id)) {
      return true;
    }
    const subscription = this.#left.get(id);
    if (subscription && !subscription.wanted) {
      this.#end(subscription, {}); // it was not in the channel any more
    }
    return this.#left.delete(id);
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
      return this.#left.delete(args.id) ? "untold" : "not ours";
    }
    const named = args.channel_name !== undefined;
    const failed = [...asked].filter((one) => !named || one.channelName === args.channel_name);
    if (!named) {
      this.#asked.delete(args.id);
      if (failed.length > 1 && UNFIT.has(args.code)) {
        // In halves, down to what is wrong: it shall not spoil the others.
        this.#askBy(Math.ceil(failed.length / 2), failed.filter((one) => one.wanted));
        return "told";
      }
    }
    const told = failed.map((subscription) => this.#refused(subscription, errorOf(args)));
    return told.every(Boolean) ? "told" : "untold";
  }

  /** The oldest UNSUBSCRIBE frame of a channel that is under way. @returns {number | undefined} */
  #leaving(subscription) {
    return [...this.#left.keys()].find((id) => this.#left.get(id) === subscription);
  }

  #askAll() {
    const waiting = [...this.#subscriptions.values()].filter((one) => one.wanted && one.status === "waiting");
    this.#askBy(this.#batches ? BATCH : 1, waiting);
  }

  /**
   * @param {number} size How many fit into one frame.
   * @param {Subscription[]} subscriptions
   */
  #askBy(size, subscriptions) {
    for (let start = 0; start < subscriptions.length; start += size) {
      this.#ask(subscriptions.slice(start, start + size));
    }
  }

  /** @param {Subscription[]} subscriptions As many as fit into one frame. */
  #ask(subscriptions) {
    const requests = subscriptions.map((subscription) => {
      if (subscription.status !== "subscribed") {
        subscription.status = "subscribing";
      }
      const { channelName, position } = subscription;
      const since = this.#batches ? position.cursor : undefined;
      position.awaited = since !== undefined;
      return since === undefined ? { channel_name: channelName } : { channel_name: channelName, since };
    });
    const args = requests.length === 1 ? requests[0] : { channels: requests };
    this.#asked.set(this.#surroundings.send("SUBSCRIBE", args), new Set(subscriptions));
  }

  /**
   * @param {Subscription} subscription
   * @param {HookboxError} error
   * @returns {boolean} Whether somebody was told.
   */
  #refused(subscription, error) {
    subscription.position.awaited = false;
    if (!subscription.wanted) {
      this.#end(subscription, {});
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
    if (subscription.refusal?.message !== error.message) {
      this.#surroundings.hint(subscription.channelName, error); // not again after each reconnect
    }
    subscription.refusal = error;
    return subscription.emit("refused", error);
  }

  #ended(args) {
    const subscription = this.#subscriptions.get(args.channel_name);
    if (!subscription) {
      return;
    }
    if (this.#left.delete(this.#leaving(subscription)) && subscription.wanted) {
      return; // the page has changed its mind, and its SUBSCRIBE is on the way
    }
    this.#end(subscription, args);
  }

  /** Whoever ended it, the page does not contradict by subscribing again after a reconnect. */
  #end(subscription, args) {
    subscription.wanted = false;
    if (subscription.status !== "unsubscribed") {
      subscription.end(args);
      this.#surroundings.emit("unsubscribed", subscription);
    }
  }
}
