import { HookboxError } from "./errors.js";

/** Frames whose sender waits for an answer: ACK, ERROR, the end of the connection, or too long. */
export class PendingRequests {
  /** @type {Map<number, { settle: (error?: HookboxError) => void }>} */
  #waiting = new Map();
  #environment;
  #timeout;

  /**
   * @param {object} environment
   * @param {typeof setTimeout} environment.setTimeout
   * @param {typeof clearTimeout} environment.clearTimeout
   * @param {number} timeout Milliseconds that an answer may take.
   */
  constructor(environment, timeout) {
    this.#environment = environment;
    this.#timeout = timeout;
  }

  /** @returns {number} How many are waiting. */
  get size() {
    return this.#waiting.size;
  }

  /** Say whether somebody waits for the answer to frame `id`. */
  has(id) {
    return this.#waiting.has(id);
  }

  /**
   * Wait for the answer to a frame.
   *
   * @param {number} id The frame's number.
   * @returns {Promise<void>}
   */
  add(id) {
    return new Promise((resolve, reject) => {
      const timer = this.#environment.setTimeout(
        () => this.fail(id, new HookboxError("The server did not answer in time.", "timeout")),
        this.#timeout,
      );
      this.#waiting.set(id, {
        settle: (error) => {
          this.#environment.clearTimeout(timer);
          if (error) {
            reject(error);
          } else {
            resolve();
          }
        },
      });
    });
  }

  /** Resolve the promise of frame `id`; say whether somebody was waiting. */
  succeed(id) {
    return this.#settle(id);
  }

  /** Reject the promise of frame `id`; say whether somebody was waiting. */
  fail(id, error) {
    return this.#settle(id, error);
  }

  /** Reject everything, for example when the connection ends. */
  failAll(error) {
    for (const id of [...this.#waiting.keys()]) {
      this.fail(id, error);
    }
  }

  #settle(id, error) {
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    request?.settle(error);
    return request !== undefined;
  }
}
