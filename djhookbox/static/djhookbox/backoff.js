/**
 * Random delays between zero and a bound that doubles with each failure.
 *
 * The full range prevents thousands of pages from reconnecting at the same moment.
 */
export class Backoff {
  #failures = 0;

  /** The bound of the last delay, in milliseconds. */
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
    // 2 ** 1024 is Infinity, which min() handles correctly.
    this.bound = Math.min(this.longest, this.first * 2 ** this.#failures);
    this.#failures += 1;
    return Math.round(this.random() * this.bound);
  }

  /** Start again with the shortest delay. */
  reset() {
    this.#failures = 0;
  }
}
