import { Backoff } from "./backoff.js";

/** The longest time in seconds over which a server may spread reconnects. */
const LONGEST_SPREAD = 600;

/**
 * Determines when to reconnect, whatever listeners do: a page that calls `connect()` on every
 * `disconnected` must not flood a server that is down.
 */
export class Pace {
  #backoff;
  #environment;
  #failures = 0;
  /** Milliseconds over which the server wants its clients to spread their reconnects. */
  #spread = 0;
  /** The time of the next attempt, and the delay until then. */
  #due = 0;
  #delay = 0;
  /** Until this time, code cannot shorten the delay: half of the longest possible delay. */
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
   * Set the number of seconds over which clients spread their reconnects.
   *
   * @param {any} seconds
   */
  spread(seconds) {
    this.#spread = 1000 * Math.min(Math.max(Number(seconds) || 0, 0), LONGEST_SPREAD);
  }

  /** @returns {number} Milliseconds until the next attempt, after one more failure. */
  next() {
    const delay = this.#spread * this.#environment.random() + this.#backoff.next();
    // The first attempt may be immediate: most outages are short.
    const growing = this.#failures > 0 ? (this.#backoff.bound ?? 2 * delay) : 0;
    const now = this.#environment.now();
    this.#due = now + (this.#delay = delay);
    this.#patientUntil = now + (this.#spread + growing) / 2;
    this.#failures += 1;
    this.#spread = 0;
    return delay;
  }

  /** @returns {number} Milliseconds that an attempt requested by code has to wait. */
  get early() {
    const now = this.#environment.now();
    // Clocks can be set back.
    return now < this.#patientUntil ? Math.min(Math.max(this.#due - now, 0), this.#delay) : 0;
  }

  /** Whether the next attempt is in the future. */
  get waits() {
    return this.#environment.now() < this.#due;
  }

  /** Note that there is a connection. */
  connected() {
    this.#patientUntil = this.#due = 0;
  }

  /** Note that the connection is stable: start again with the shortest delay. */
  reset() {
    this.#failures = 0;
    this.#backoff.reset();
  }
}
