/** Milliseconds between two questions while all is well, and the longest after failures. */
const INTERVAL = 5000;
const LONGEST = 60_000;

/**
 * Fetches a part of the page now and again, and tells when it has changed.
 *
 * A question that fails is asked again later and later; one that is answered by something else
 * than the page (the user has signed out, or lost the right) is the last.
 */
export class Poller {
  #address;
  #listeners;
  #environment;
  #timer = null;
  #request = null;
  #tag = "";
  #failures = 0;

  /**
   * @param {string} address
   * @param {object} listeners
   * @param {(html: string | null) => void} listeners.onAnswer What came; null if nothing is new.
   * @param {() => void} listeners.onFailure
   * @param {() => void} listeners.onEnd The page will not be answered again.
   * @param {object} [environment] `fetch`, timers and `AbortController`: the browser's own.
   */
  constructor(address, listeners, environment = globalThis) {
    this.#address = address;
    this.#listeners = listeners;
    this.#environment = environment;
  }

  /** Whether it asks by itself. */
  get running() {
    return this.#timer !== null || this.#request !== null;
  }

  /** Ask from now on; the first time after `delay` milliseconds. */
  start(delay = INTERVAL) {
    this.stop();
    this.#timer = this.#environment.setTimeout(() => this.#ask(), delay);
  }

  /** Ask no more; an answer on its way is not taken. */
  stop() {
    this.#environment.clearTimeout(this.#timer);
    this.#timer = null;
    this.#request?.abort();
    this.#request = null;
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
      return; // stopped meanwhile
    }
    this.#request = null;
    if (outcome?.ended) {
      this.#listeners.onEnd();
      return;
    }
    this.#failures = outcome ? 0 : this.#failures + 1;
    this.start(Math.min(LONGEST, INTERVAL * 2 ** this.#failures));
    if (outcome) {
      this.#listeners.onAnswer(outcome.html);
    } else {
      this.#listeners.onFailure();
    }
  }

  async #fetch(signal) {
    const response = await this.#environment.fetch(this.#address, {
      // By hand: we want to know that nothing is new, which the browser's cache would hide.
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
