/** Milliseconds between requests, and the longest delay after failures. */
const INTERVAL = 5000;
const LONGEST = 60_000;

/**
 * Polls a part of the page, and reports when it has changed.
 *
 * A request that fails is repeated after increasing delays. If the answer is something other than the
 * page (the user has logged out or lost the permission), polling stops.
 */
export class Poller {
  #address;
  #listeners;
  #environment;
  #interval;
  #timer = null;
  #request = null;
  #tag = "";
  #failures = 0;

  /**
   * @param {string} address
   * @param {object} listeners
   * @param {(html: string | null) => void} listeners.onAnswer The answer; null if nothing has changed.
   * @param {() => void} listeners.onFailure
   * @param {() => void} listeners.onEnd Polling has stopped for good.
   * @param {object} [environment] `fetch`, timers and `AbortController`; by default, those of the browser.
   * @param {number} [interval] Milliseconds between requests.
   */
  constructor(address, listeners, environment = globalThis, interval = INTERVAL) {
    this.#address = address;
    this.#listeners = listeners;
    this.#environment = environment;
    this.#interval = interval;
  }

  /** Whether it is polling. */
  get running() {
    return this.#timer !== null || this.#request !== null;
  }

  /** Start polling, after `delay` milliseconds. */
  start(delay = this.#interval) {
    this.stop();
    this.#timer = this.#environment.setTimeout(() => this.#ask(), delay);
  }

  /** Stop polling; an outstanding answer is ignored. */
  stop() {
    this.#environment.clearTimeout(this.#timer);
    this.#timer = null;
    this.#request?.abort();
    this.#request = null;
  }

  /** Forget what was answered last: the next answer is complete. */
  forget() {
    this.#tag = "";
  }

  async #ask() {
    this.#timer = null;
    const request = new this.#environment.AbortController();
    this.#request = request;
    let outcome;
    try {
      outcome = await this.#fetch(request.signal);
    } catch {
      outcome = null; // no network, or the site is down
    }
    if (this.#request !== request) {
      return; // stopped in the meantime
    }
    this.#request = null;
    if (outcome?.ended) {
      this.#listeners.onEnd();
      return;
    }
    this.#failures = outcome ? 0 : this.#failures + 1;
    this.start(Math.min(LONGEST, this.#interval * 2 ** this.#failures));
    if (outcome) {
      this.#listeners.onAnswer(outcome.html);
    } else {
      this.#listeners.onFailure();
    }
  }

  async #fetch(signal) {
    const response = await this.#environment.fetch(this.#address, {
      // Set explicitly, because the browser's cache would hide that nothing has changed.
      headers: this.#tag ? { "If-None-Match": this.#tag } : {},
      cache: "no-store",
      credentials: "same-origin",
      redirect: "manual", // to the login page
      signal,
    });
    if (response.status === 304) {
      return { html: null };
    }
    if (response.type === "opaqueredirect" || response.status === 403 || response.status === 404) {
      return { ended: true };
    }
    if (!response.ok) {
      return null;
    }
    const html = await response.text();
    this.#tag = response.headers.get("ETag") ?? "";
    return { html };
  }
}
