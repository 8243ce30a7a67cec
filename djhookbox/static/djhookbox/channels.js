import { Backoff } from "./backoff.js";
import { errorOf, PASSING } from "./errors.js";
import { Subscription } from "./subscription.js";

/**
 * @import { Connection } from "./connection.js"
 * @import { HookboxError } from "./errors.js"
 * @import { PendingRequests } from "./pending_requests.js"
 * @import { Timers } from "./timers.js"
 */

/** The maximum number of channels in one SUBSCRIBE frame. */
const BATCH = 256;

/** The statuses in which the server has subscribed the page, or is about to. */
const INSIDE = new Set(["subscribing", "subscribed", "leaving"]);

/** Codes with which a whole frame is refused: for its format, its size, or one of its names. */
const UNFIT = new Set(["malformed", "limit"]);

/**
 * The part of the connection that channels use.
 *
 * @typedef {object} Surroundings
 * @property {(name: string, args: Record<string, any>) => number} send
 * @property {() => number} random
 * @property {(channelName: string, error: HookboxError) => void} hint
 */

/** The subscriptions of a page: what it wants, what it has requested, and the answers. */
export class Channels {
  /** @type {Map<string, Subscription>} A Map, because channel names come from users. */
  #subscriptions = new Map();
  /** Whether frames can be sent immediately: frames that waited have been sent before. */
  ready = false;
  /** Why the connection is closed for good; null if it is not. @type {HookboxError | null} */
  closed = null;
  /** Whether the server accepts many channels in one frame. */
  #batches = false;

  #connection;
  #surroundings;
  #requests;
  #timers;
  /** @type {Map<string, string>} */
  #cursors = new Map();
  #retries;

  /**
   * @param {Connection} connection
   * @param {Surroundings} surroundings
   * @param {PendingRequests} requests
   * @param {Timers} timers
   * @param {Record<string, string>} cursors The cursors at which to start, by channel name.
   */
  constructor(connection, surroundings, requests, timers, cursors) {
    this.#connection = connection;
    this.#surroundings = surroundings;
    this.#requests = requests;
    this.#timers = timers;
    this.begins(cursors);
    this.#retries = new Backoff({ random: surroundings.random });
  }

  /**
   * Take over the cursors of a newer page.
   *
   * @param {Record<string, string>} cursors
   */
  begins(cursors) {
    this.#cursors = new Map(Object.entries(cursors));
  }

  /**
   * Return the subscription to a channel, if there is one.
   *
   * @param {string} channelName
   * @returns {Subscription | undefined}
   */
  get(channelName) {
    return this.#subscriptions.get(channelName);
  }

  /**
   * Return the subscription to a channel; create it if necessary.
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
      this.#connection.emit("subscription", subscription);
    }
    return subscription;
  }

  /**
   * Handle a new connection: request all subscriptions that wait.
   *
   * @param {boolean} batches
   */
  connected(batches) {
    this.#batches = batches;
    this.#askAll();
  }

  /**
   * Handle the end of the connection; frames that were in transit are lost.
   *
   * @param {boolean} closed Whether it was closed for good.
   */
  detached(closed) {
    this.#timers.stopAll();
    for (const subscription of [...this.#subscriptions.values()]) {
      subscription.position.awaited = false;
      if (!subscription.wanted) {
        this.#end(subscription, {}); // the page was leaving and has now left
      } else if (closed && subscription.status === "waiting") {
        subscription.emit("status", "waiting"); // for those that wait for the status, to find the reason
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
      // The site or another part of the page subscribed; this caller also expects the event.
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
   * Handle a frame about the page's own subscription.
   *
   * @param {string} name
   * @param {Record<string, any>} args
   */
  own(name, args) {
    if (name === "SUBSCRIBE") {
      const subscription = this.of(args.channel_name);
      if (subscription.status === "leaving" || (subscription.position.awaited && !args.recovered)) {
        return; // sent for another reason, or before it left: the requested one follows
      }
      this.#retries.reset();
      subscription.begin(args);
      if (subscription.status === "subscribed") {
        this.#connection.emit("subscribed", subscription);
      }
    } else {
      this.#ended(args);
    }
  }

  /**
   * Request what was missed.
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
   * @param {{ key?: string }} [options]
   */
  publish(channelName, payload, options) {
    return this.#connection.publish(channelName, payload, options);
  }

  /**
   * Subscribe again: to this subscription, unless another one has replaced it.
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

  /** Handle the answer to UNSUBSCRIBE; the server has sent UNSUBSCRIBE before if it had an effect. */
  #mayLeave(subscription, error) {
    if (subscription.status !== "leaving") {
      return !error; // it has ended, or the page has subscribed again
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

  /** Handle the answer to SUBSCRIBE, or to a part of it. */
  #mayEnter(asked, error, args) {
    if (!error) {
      return true;
    }
    const named = args.channel_name !== undefined;
    const failed = [...asked].filter((one) => !named || one.channelName === args.channel_name);
    if (!named && failed.length > 1 && UNFIT.has(error.code)) {
      // Retry in halves to find the faulty channel, so that it does not affect the others.
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
   * @param {number} size The number of channels per frame.
   * @param {Subscription[]} subscriptions
   */
  #askBy(size, subscriptions) {
    for (let start = 0; start < subscriptions.length; start += size) {
      this.#ask(subscriptions.slice(start, start + size));
    }
  }

  /** @param {Subscription[]} subscriptions At most as many as fit into one frame. */
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
   * @returns {boolean} Whether somebody was notified.
   */
  #refused(subscription, error) {
    subscription.position.awaited = false;
    if (!subscription.wanted) {
      this.#end(subscription, {});
      return true;
    }
    if (PASSING.has(error.code)) {
      // The site is temporarily unavailable: retry after a random delay.
      subscription.enter("waiting");
      if (!this.#timers.has(this)) {
        this.#timers.start(this, this.#retries.next(), () => this.#askAll());
      }
      return false;
    }
    if (subscription.refusal?.message !== error.message) {
      this.#surroundings.hint(subscription.channelName, error); // but not after each reconnect
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
      return; // the page has subscribed again, and its SUBSCRIBE has been sent
    }
    this.#end(subscription, args);
  }

  /** End a subscription, whether the page or the site ended it; do not renew it after a reconnect. */
  #end(subscription, args) {
    subscription.wanted = false;
    if (subscription.handles === 0 && this.get(subscription.channelName) === subscription) {
      this.#subscriptions.delete(subscription.channelName); // the page may still use it
    }
    if (subscription.status !== "unsubscribed") {
      subscription.end(args);
      this.#connection.emit("unsubscribed", subscription);
    }
  }
}
