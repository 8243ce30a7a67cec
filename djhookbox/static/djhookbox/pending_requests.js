import { HookboxError } from "./errors.js";

/** @import { Timers } from "./timers.js" */

/**
 * A frame that has not been answered.
 *
 * @typedef {object} Request
 * @property {(error: HookboxError | null, args: Record<string, any>) => boolean} answer Called with
 *   null and the arguments of ACK, or with the error and those of ERROR; returns whether somebody was
 *   notified.
 * @property {any} [about] The subscription that the frame ends.
 * @property {boolean} [promised] Whether the page waits for it, even without a connection.
 */

/** The frames that wait for ACK, ERROR, the end of the connection, or a timeout. */
export class PendingRequests {
  /** @type {Map<number, Request>} */
  #waiting = new Map();
  #timers;
  #timeout;

  /**
   * @param {Timers} timers
   * @param {number} timeout Milliseconds to wait for an answer.
   */
  constructor(timers, timeout) {
    this.#timers = timers;
    this.#timeout = timeout;
  }

  /** Whether the page waits for an answer. */
  get busy() {
    return [...this.#waiting.values()].some(({ promised }) => promised);
  }

  /**
   * Return whether the frame `id` waits for an answer.
   *
   * @param {number} id
   */
  has(id) {
    return this.#waiting.has(id);
  }

  /**
   * Wait for the answer to a frame.
   *
   * @param {number} id The id of the frame.
   * @param {Request} request
   */
  add(id, request) {
    this.#waiting.set(id, request);
  }

  /**
   * Return a promise for the answer to a frame.
   *
   * @param {number} id The id of the frame.
   * @param {(args: Record<string, any>) => void} [taken] Called before the promise is resolved.
   * @returns {Promise<void>}
   */
  promise(id, taken) {
    return new Promise((resolve, reject) => {
      this.add(id, {
        promised: true,
        answer: (error, args) => {
          this.#timers.stop(id);
          if (error) {
            reject(error);
          } else {
            taken?.(args);
            resolve(/** @type {any} */ (args)); // read by debugging.js only
          }
          return true;
        },
      });
      this.#timers.start(id, this.#timeout, () => {
        this.settle(id, new HookboxError("The server did not answer in time.", "timeout"));
      });
    });
  }

  /**
   * Handle the answer to the frame `id`.
   *
   * @param {number} id
   * @param {HookboxError | null} error
   * @param {Record<string, any>} [args] With `channel_name`, they answer only a part of the frame.
   * @returns {boolean} Whether somebody was notified.
   */
  settle(id, error, args = {}) {
    const request = this.#waiting.get(id);
    if (!error || args.channel_name === undefined) {
      this.#waiting.delete(id);
    }
    return request?.answer(error, args) ?? false;
  }

  /**
   * Remove the oldest frame that ends a subscription, and return whether there was one.
   *
   * @param {any} subscription
   */
  left(subscription) {
    const found = [...this.#waiting].find(([, { about }]) => about === subscription);
    return found !== undefined && this.#waiting.delete(found[0]);
  }

  /**
   * Handle the end of the connection: remove the frames of the connection itself.
   *
   * @param {HookboxError | null} error The error for the requests of the page; null keeps them waiting.
   */
  lost(error) {
    for (const [id, { promised }] of [...this.#waiting]) {
      if (!promised) {
        this.#waiting.delete(id);
      } else if (error) {
        this.settle(id, error);
      }
    }
  }
}
