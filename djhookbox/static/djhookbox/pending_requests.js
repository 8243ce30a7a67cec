import { HookboxError } from "./errors.js";

/** @import { Timers } from "./timers.js" */

/**
 * A frame without an answer.
 *
 * @typedef {object} Request
 * @property {(error: HookboxError | null, args: Record<string, any>) => boolean} answer Called with
 *   the arguments of ACK and null, or of ERROR; returns whether somebody was told.
 * @property {any} [about] The subscription that it leaves.
 * @property {boolean} [promised] Whether a page waits for it, also while there is no connection.
 */

/** Frames whose answer is awaited: ACK, ERROR, the end of the connection, or too long. */
export class PendingRequests {
  /** @type {Map<number, Request>} */
  #waiting = new Map();
  #timers;
  #timeout;

  /**
   * @param {Timers} timers
   * @param {number} timeout Milliseconds that an answer may take.
   */
  constructor(timers, timeout) {
    this.#timers = timers;
    this.#timeout = timeout;
  }

  /** Whether a page waits for an answer. */
  get busy() {
    return [...this.#waiting.values()].some(({ promised }) => promised);
  }

  /**
   * Say whether the answer to frame `id` is awaited.
   *
   * @param {number} id
   */
  has(id) {
    return this.#waiting.has(id);
  }

  /**
   * Await the answer to a frame.
   *
   * @param {number} id The frame's number.
   * @param {Request} request
   */
  add(id, request) {
    this.#waiting.set(id, request);
  }

  /**
   * Promise a page the answer to a frame.
   *
   * @param {number} id The frame's number.
   * @param {(args: Record<string, any>) => void} [taken] Called before it is resolved.
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
            resolve();
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
   * Take in the answer to frame `id`.
   *
   * @param {number} id
   * @param {HookboxError | null} error
   * @param {Record<string, any>} [args] With `channel_name` it answers a part of the frame only.
   * @returns {boolean} Whether somebody was told.
   */
  settle(id, error, args = {}) {
    const request = this.#waiting.get(id);
    if (!error || args.channel_name === undefined) {
      this.#waiting.delete(id);
    }
    return request?.answer(error, args) ?? false;
  }

  /**
   * Find the oldest frame that leaves, forget it, and say whether there was one.
   *
   * @param {any} subscription
   */
  left(subscription) {
    const found = [...this.#waiting].find(([, { about }]) => about === subscription);
    return found !== undefined && this.#waiting.delete(found[0]);
  }

  /**
   * The connection has gone: forget the frames of the connection itself.
   *
   * @param {HookboxError | null} error What to tell the pages that wait; null lets them wait.
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
