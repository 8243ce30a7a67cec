/** @import { Timers } from "./timers.js" */

/** Sends pings, and reports when the connection no longer answers. */
export class Heartbeat {
  #interval;
  #timeout;
  #timers;
  #ping;
  #onDead;
  #beats = false;
  #pingId = 0;

  /**
   * @param {{ interval: number, timeout: number }} options Milliseconds; 0 as the interval disables pings.
   * @param {Timers} timers
   * @param {() => number} ping Sends a PING and returns its id.
   * @param {() => void} onDead Called if there was no answer in time.
   */
  constructor({ interval, timeout }, timers, ping, onDead) {
    this.#interval = interval;
    this.#timeout = timeout;
    this.#timers = timers;
    this.#ping = ping;
    this.#onDead = onDead;
  }

  /**
   * Start, after the connection was opened.
   *
   * @param {boolean} answers Whether the server supports PING.
   */
  begin(answers) {
    this.#pingId = 0;
    this.#beats = answers && this.#interval > 0;
    this.#wait();
  }

  /** Send a ping now. */
  check() {
    this.#wait();
    if (this.#beats && !this.#timers.has("pong")) {
      this.#pingId = this.#ping();
      this.#timers.start("pong", this.#timeout, this.#onDead);
    }
  }

  /**
   * Note that something has arrived, which proves that the connection is alive.
   *
   * @param {number} [id] The id of the frame that it answers.
   * @returns {boolean} Whether that frame was a ping.
   */
  heard(id) {
    this.#timers.stop("pong");
    return this.#pingId !== 0 && id === this.#pingId;
  }

  /** Stop, after the connection was closed. */
  end() {
    this.#beats = false;
  }

  #wait() {
    if (this.#beats) {
      this.#timers.start("heartbeat", this.#interval, () => this.check());
    }
  }
}
