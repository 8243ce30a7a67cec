/** Browsers take longer delays, 25 days, for none at all. */
const LONGEST = 2 ** 31 - 1;

/** Timers by purpose: starting one replaces the earlier one of the same purpose. */
export class Timers {
  #running = new Map();
  #environment;

  /**
   * @param {Record<string, any>} environment Its `setTimeout` and `clearTimeout` are used.
   */
  constructor(environment) {
    this.#environment = environment;
  }

  /**
   * Call `action` once, after `delay` milliseconds; after 25 days or `Infinity` never.
   *
   * @param {any} purpose A name, or the object that the timer is for.
   * @param {number} delay
   * @param {() => void} action
   */
  start(purpose, delay, action) {
    this.stop(purpose);
    const then = () => {
      this.#running.delete(purpose);
      action();
    };
    this.#running.set(purpose, delay <= LONGEST && this.#environment.setTimeout(then, delay));
  }

  /**
   * Say whether a timer of `purpose` runs.
   *
   * @param {any} purpose
   * @returns {boolean}
   */
  has(purpose) {
    return this.#running.has(purpose);
  }

  /**
   * Forget the timer of `purpose`, if one runs.
   *
   * @param {any} purpose
   */
  stop(purpose) {
    if (this.#running.has(purpose)) {
      this.#environment.clearTimeout(this.#running.get(purpose));
      this.#running.delete(purpose);
    }
  }

  /** Forget all of them. */
  stopAll() {
    for (const purpose of [...this.#running.keys()]) {
      this.stop(purpose);
    }
  }
}
