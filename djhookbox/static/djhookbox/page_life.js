/** Events that can mean that the page is left or restored, or that the network is back. */
const EVENTS = /** @type {const} */ ([
  ["window", "online"],
  ["window", "pagehide"],
  ["window", "pageshow"],
  ["document", "visibilitychange"],
  ["document", "prerenderingchange"],
]);

/** Tracks the parts of a page's life cycle that affect a connection. */
export class PageLife {
  /** Whether the page is unloading or in the back/forward cache. */
  left = false;

  #environment;
  #onWake;
  #onReturn;

  /**
   * @param {Record<string, any>} environment With `window` and `document` in browsers.
   * @param {() => void} onWake The network may be back, or the page is visible again.
   * @param {() => void} onReturn The page was restored from the back/forward cache.
   */
  constructor(environment, onWake, onReturn) {
    this.#environment = environment;
    this.#onWake = onWake;
    this.#onReturn = onReturn;
  }

  /** Whether a person has just clicked or typed. */
  get touched() {
    return this.#environment.window?.navigator?.userActivation?.isActive;
  }

  /**
   * Start or stop listening.
   *
   * @param {"addEventListener" | "removeEventListener"} method
   */
  listen(method) {
    this.left = false;
    for (const [target, event] of EVENTS) {
      this.#environment[target]?.[method](event, this);
    }
  }

  /** @param {any} event */
  handleEvent({ type, persisted }) {
    const back = type === "pageshow" && (persisted || this.left);
    const visible = type === "prerenderingchange" || this.#environment.document?.visibilityState !== "hidden";
    if (type.startsWith("page")) {
      this.left = type === "pagehide";
    }
    if (back) {
      this.#onReturn();
    } else if (!this.left && visible) {
      this.#onWake();
    }
  }
}
