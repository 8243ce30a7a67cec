/** @import { Timers } from "./timers.js" */

/** Asks a connection for signs of life, and says when there is none. */
export class Heartbeat {
  #interval;
  #timeout;
  #timers;
  #ping;
  #onDead;
  #beats = false;
  #pingId = 0;

  /**
   * @param {{ interval: number, timeout: number }} options Milliseconds; interval 0: never ask.
   * @param {Timers} timers
   * @param {() => number} ping Sends a PING and gives its number.
   * @param {() => void} onDead There was no answer in time.
   */
  constructor({ interval, timeout }, timers, ping, onDead) {
    this.#interval = interval;
    this.#timeout = timeout;
    this.#timers = timers;
    this.#ping = ping;
    this.#onDead = onDead;
  }

  /**
   * There is a connection.
   *
   * @param {boolean} answers Whether its server knows PING.
   */
  begin(answers) {
    this.#pingId = 0;
    this.#beats = answers && this.#interval > 0;
    this.#wait();
  }

  /** Ask now. */
  check() {
    this.#wait();
    if (this.#beats && !this.#timers.has("pong")) {
      this.#pingId = this.#ping();
      this.#timers.start("pong", this.#timeout, this.#onDead);
    }
  }

  /**
   * Something has arrived: a sign of life, whatever it is.
   *
   * @param {number} [id] Of the frame that it answers; say whether that was a PING.
   */
  heard(id) {
    this.#timers.stop("pong");
    return this.#pingId !== 0 && id === this.#pingId;
  }

  /** There is no connection any more. */
  end() {
    this.#beats = false;
    this.#timers.stop("pong");
    this.#timers.stop("heartbeat");
  }

  #wait() {
    if (this.#beats) {
      this.#timers.start("heartbeat", this.#interval, () => this.check());
    }
  }
}
