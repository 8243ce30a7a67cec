/** About 25 days in milliseconds; browsers treat longer delays as zero. */
const LONGEST = 2 ** 31 - 1;

/** Timers by purpose: starting one replaces an earlier one with the same purpose. */
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
   * Call `action` once, after `delay` milliseconds. If that is more than 25 days, or `Infinity`, never
   * call it.
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
   * Return whether a timer for `purpose` is running.
   *
   * @param {any} purpose
   * @returns {boolean}
   */
  has(purpose) {
    return this.#running.has(purpose);
  }

  /**
   * Stop the timer for `purpose`, if one is running.
   *
   * @param {any} purpose
   */
  stop(purpose) {
    this.#environment.clearTimeout(this.#running.get(purpose));
    this.#running.delete(purpose);
  }

  /** Stop all timers. */
  stopAll() {
    this.#running.forEach((_, purpose) => this.stop(purpose));
  }
}
