/**
 * Delays that double from one failure to the next, each anywhere between nothing and its bound.
 *
 * The full range is what keeps thousands of pages from returning in the same moment.
 */
export class Backoff {
  #failures = 0;

  /** The longest that the last delay might have been, in milliseconds. */
  bound = 0;

  /**
   * @param {object} [options] Times are milliseconds.
   * @param {number} [options.first] Bound of the first delay.
   * @param {number} [options.longest] Bound that no delay exceeds.
   * @param {() => number} [options.random]
   */
  constructor({ first = 1000, longest = 20_000, random = Math.random } = {}) {
    this.first = first;
    this.longest = longest;
    this.random = random;
  }

  /** @returns {number} The next delay in milliseconds. */
  next() {
    // 2 ** 1024 is Infinity, which min() takes well.
    this.bound = Math.min(this.longest, this.first * 2 ** this.#failures);
    this.#failures += 1;
    return Math.round(this.random() * this.bound);
  }

  /** Begin again with the shortest delay. */
  reset() {
    this.#failures = 0;
  }
}
