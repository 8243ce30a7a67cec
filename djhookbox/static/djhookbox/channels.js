import { Backoff } from "./backoff.js";
import { errorOf, PASSING } from "./errors.js";
import { Subscription } from "./subscription.js";

/**
 * @import { HookboxError } from "./errors.js"
 * @import { PendingRequests } from "./pending_requests.js"
 * @import { Timers } from "./timers.js"
 */

/** So many channels fit into one SUBSCRIBE frame. */
const BATCH = 256;

/** The statuses in which the server has the page in the channel, or is about to. */
const INSIDE = new Set(["subscribing", "subscribed", "leaving"]);

/** What a frame is refused with as a whole: its form, its size, one of its names. */
const UNFIT = new Set(["malformed", "limit"]);

/**
 * What channels need of their connection.
 *
 * @typedef {object} Surroundings
 * @property {(name: string, args: Record<string, any>) => number} send
 * @property {(channelName: string, payload: any) => Promise<void>} publish
 * @property {(event: string, detail: any) => boolean} emit
 * @property {() => number} random
 * @property {(channelName: string, error: HookboxError) => void} hint
 */

/** The subscriptions of a page: what it wants, what it has asked for, and what it was told. */
export class Channels {
  /** @type {Map<string, Subscription>} Channel names come from users: a Map. */
  #subscriptions = new Map();
  /** Whether frames go out at once: the server is known, and what waited has gone before. */
  ready = false;
  /** Why there will be no connection; null if there may be one. @type {HookboxError | null} */
  closed = null;
  /** Whether the server takes many channels in one frame. */
  #batches = false;

  #surroundings;
  #requests;
  #timers;
  /** @type {Map<string, string>} */
  #cursors = new Map();
  #retries;

  /**
   * @param {Surroundings} surroundings
   * @param {PendingRequests} requests
   * @param {Timers} timers
   * @param {Record<string, string>} cursors Where the site's pages begin to read.
   */
  constructor(surroundings, requests, timers, cursors) {
    this.#surroundings = surroundings;
    this.#requests = requests;
    this.#timers = timers;
    this.begins(cursors);
    this.#retries = new Backoff({ random: surroundings.random });
  }

  /**
   * Take in where a page that has been made since begins to read.
   *
   * @param {Record<string, string>} cursors
   */
  begins(cursors) {
    this.#cursors = new Map(Object.entries(cursors));
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
      subscription = new Subscription(channelName, this);
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

  /**
   * The connection has gone, with what was on the way.
   *
   * @param {boolean} closed Whether for good.
   */
  detached(closed) {
    this.#timers.stopAll();
    for (const subscription of [...this.#subscriptions.values()]) {
      subscription.position.awaited = false;
      if (!subscription.wanted) {
        this.#end(subscription, {}); // who was about to leave is out now
      } else if (closed && subscription.status === "waiting") {
        subscription.emit("status", "waiting"); // who waits for more looks why there is none
      } else {
        subscription.enter("waiting");
      }
      if (closed) {
        subscription.hush();
      }
    }
  }

  /** @param {Subscription} subscription */
  want(subscription) {
    subscription.wanted = true;
    const { status } = subscription;
    if (status === "subscribed") {
      // By the site, or for another part of the page: the caller still expects the event.
      queueMicrotask(() => subscription.status === "subscribed" && subscription.announce());
    } else if (status !== "subscribing") {
      this.ready ? this.#ask([subscription]) : subscription.enter("waiting");
    }
  }

  /** @param {Subscription} subscription */
  leave(subscription) {
    subscription.wanted = false;
    subscription.hush();
    if (!this.ready || !INSIDE.has(subscription.status)) {
      this.#end(subscription, {});
      return;
    }
    const id = this.#surroundings.send("UNSUBSCRIBE", { channel_name: subscription.channelName });
    this.#requests.add(id, {
      about: subscription,
      answer: (error) => this.#mayLeave(subscription, error),
    });
    subscription.enter("leaving");
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
      if (subscription.status === "leaving" || (subscription.position.awaited && !args.recovered)) {
        return; // made for others, or before it left: the one that the page has asked for follows
      }
      this.#retries.reset();
      subscription.begin(args);
      if (subscription.status === "subscribed") {
        this.#surroundings.emit("subscribed", subscription);
      }
    } else {
      this.#ended(args);
    }
  }

  /**
   * Ask what has been missed; there is something.
   *
   * @param {Subscription} subscription
   */
  recover(subscription) {
    this.#ask([subscription]);
  }

  /**
   * Publish for a subscription.
   *
   * @param {string} channelName
   * @param {any} payload
   */
  publish(channelName, payload) {
    return this.#surroundings.publish(channelName, payload);
  }

  /**
   * Let a subscription take up again: this one, unless another has taken its place.
   *
   * @param {Subscription} subscription
   */
  subscribe(subscription) {
    const current = this.get(subscription.channelName) ?? subscription;
    this.#subscriptions.set(current.channelName, current);
    current.handles ||= 1;
    this.want(current);
    return current;
  }

  /** UNSUBSCRIBE is answered; an own UNSUBSCRIBE frame has come before, if it did something. */
  #mayLeave(subscription, error) {
    if (subscription.status !== "leaving") {
      return !error; // it is gone, or the page has changed its mind
    }
    if (!error) {
      this.#end(subscription, {});
    } else if (PASSING.has(error.code)) {
      this.#timers.start(subscription, this.#retries.next(), () => {
        subscription.status === "leaving" && this.leave(subscription);
      });
    } else {
      subscription.stay();
    }
    return !error;
  }

  /** SUBSCRIBE is answered, or a part of it. */
  #mayEnter(asked, error, args) {
    if (!error) {
      return true;
    }
    const named = args.channel_name !== undefined;
    const failed = [...asked].filter((one) => !named || one.channelName === args.channel_name);
    if (!named && failed.length > 1 && UNFIT.has(error.code)) {
      // In halves, down to what is wrong: it shall not spoil the others.
      this.#askBy(Math.ceil(failed.length / 2), failed.filter((one) => one.wanted));
      return true;
    }
    return failed.map((subscription) => this.#refused(subscription, error)).every(Boolean);
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
      const { channelName, position } = subscription;
      const since = this.#batches ? position.cursor : undefined;
      position.awaited = since !== undefined;
      return since === undefined ? { channel_name: channelName } : { channel_name: channelName, since };
    });
    const args = requests.length === 1 ? requests[0] : { channels: requests };
    const answer = (error, answered) => this.#mayEnter(subscriptions, error, answered);
    this.#requests.add(this.#surroundings.send("SUBSCRIBE", args), { answer });
    for (const subscription of subscriptions) {
      subscription.status === "subscribed" || subscription.enter("subscribing");
    }
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
      subscription.enter("waiting");
      if (!this.#timers.has(this)) {
        this.#timers.start(this, this.#retries.next(), () => this.#askAll());
      }
      return false;
    }
    if (subscription.refusal?.message !== error.message) {
      this.#surroundings.hint(subscription.channelName, error); // not again after each reconnect
    }
    subscription.refusal = error;
    return subscription.enter("refused") && subscription.emit("refused", error);
  }

  #ended(args) {
    const subscription = this.#subscriptions.get(args.channel_name);
    if (!subscription) {
      return;
    }
    if (this.#requests.left(subscription) && subscription.wanted) {
      return; // the page has changed its mind, and its SUBSCRIBE is on the way
    }
    this.#end(subscription, args);
  }

  /** Whoever ended it, the page does not contradict by subscribing again after a reconnect. */
  #end(subscription, args) {
    subscription.wanted = false;
    if (subscription.handles === 0 && this.get(subscription.channelName) === subscription) {
      this.#subscriptions.delete(subscription.channelName); // the page may hold it, we do not
    }
    if (subscription.status !== "unsubscribed") {
      subscription.end(args);
      this.#surroundings.emit("unsubscribed", subscription);
    }
  }
}
