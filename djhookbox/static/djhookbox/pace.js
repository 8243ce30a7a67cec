import { Backoff } from "./backoff.js";

/** The longest time in seconds over which a server may spread those who come back. */
const LONGEST_SPREAD = 600;

/**
 * Says when to try again, whatever handlers do about an outage: a page that calls `connect()` as
 * often as it is told of one must not storm a server that is down.
 */
export class Pace {
  #backoff;
  #environment;
  #failures = 0;
  /** Over how many milliseconds the server wants those who come back to spread. */
  #spread = 0;
  /** When the next attempt is due. */
  #due = 0;
  /** Until when it is not for code to hurry: half of the longest delay that there might have been. */
  #patientUntil = 0;

  /**
   * @param {Backoff | undefined} backoff
   * @param {Record<string, any>} environment Its `now` and `random` are used.
   */
  constructor(backoff, environment) {
    this.#backoff = backoff ?? new Backoff({ random: environment.random });
    this.#environment = environment;
  }

  /**
   * Take in over how many seconds the server wants its clients to spread their return.
   *
   * @param {any} seconds
   */
  spread(seconds) {
    this.#spread = 1000 * Math.min(Math.max(Number(seconds) || 0, 0), LONGEST_SPREAD);
  }

  /** @returns {number} Milliseconds until the next attempt, after one more failure. */
  next() {
    const delay = this.#spread * this.#environment.random() + this.#backoff.next();
    // Once it may be at once: most outages are short.
    const growing = this.#failures > 0 ? (this.#backoff.bound ?? 2 * delay) : 0;
    const now = this.#environment.now();
    this.#due = now + delay;
    this.#patientUntil = now + (this.#spread + growing) / 2;
    this.#failures += 1;
    this.#spread = 0;
    return delay;
  }

  /** @returns {number} For how many milliseconds an attempt that code asks for has to wait. */
  get early() {
    const now = this.#environment.now();
    return now < this.#patientUntil ? Math.max(this.#due - now, 0) : 0;
  }

  /** Whether the next attempt is still to come. */
  get waits() {
    return this.#environment.now() < this.#due;
  }

  /** There is a connection. */
  connected() {
    this.#patientUntil = this.#due = 0;
  }

  /** The connection has lasted: begin again with the shortest delay. */
  reset() {
    this.#failures = 0;
    this.#backoff.reset();
  }
}
