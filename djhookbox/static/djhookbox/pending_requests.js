import { HookboxError } from "./errors.js";
import { Timers } from "./timers.js";

/**
 * Frames whose sender waits for an answer: ACK, ERROR, the end of the connection, or too long.
 */
export class PendingRequests {
  /** @type {Map<number, { subject: any, settle: (error?: HookboxError) => void }>} */
  #waiting = new Map();
  #timers;
  #timeout;

  /**
   * @param {Record<string, any>} environment Its `setTimeout` and `clearTimeout` are used.
   * @param {number} timeout Milliseconds that an answer may take.
   */
  constructor(environment, timeout) {
    this.#timers = new Timers(environment);
    this.#timeout = timeout;
  }

  /** @returns {number} How many are waiting. */
  get size() {
    return this.#waiting.size;
  }

  /**
   * Say whether somebody waits for the answer to frame `id`.
   *
   * @param {number} id
   */
  has(id) {
    return this.#waiting.has(id);
  }

  /**
   * Wait for the answer to a frame.
   *
   * @param {number} id The frame's number.
   * @param {any} [subject] What it is about, for whoever sees the answer.
   * @returns {Promise<void>}
   */
  add(id, subject) {
    return new Promise((resolve, reject) => {
      this.#timers.start(id, this.#timeout, () => {
        this.fail(id, new HookboxError("The server did not answer in time.", "timeout"));
      });
      this.#waiting.set(id, {
        subject,
        settle: (error) => {
          this.#timers.stop(id);
          if (error) {
            reject(error);
          } else {
            resolve();
          }
        },
      });
    });
  }

  /**
   * What the frame is about; undefined if nobody waits for its answer.
   *
   * @param {number} id
   */
  subject(id) {
    return this.#waiting.get(id)?.subject;
  }

  /**
   * Resolve the promise of frame `id`; say whether somebody was waiting.
   *
   * @param {number} id
   */
  succeed(id) {
    return this.#settle(id);
  }

  /**
   * Reject the promise of frame `id`; say whether somebody was waiting.
   *
   * @param {number} id
   * @param {HookboxError} error
   */
  fail(id, error) {
    return this.#settle(id, error);
  }

  /**
   * Reject everything, for example when the connection ends.
   *
   * @param {HookboxError} error
   */
  failAll(error) {
    for (const id of [...this.#waiting.keys()]) {
      this.fail(id, error);
    }
  }

  /**
   * @param {number} id
   * @param {HookboxError} [error]
   */
  #settle(id, error) {
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    request?.settle(error);
    return request !== undefined;
  }
}
