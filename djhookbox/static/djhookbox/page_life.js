/** What may mean that the page comes or goes, that the network is back, or that somebody looks. */
const EVENTS = /** @type {const} */ ([
  ["window", "online"],
  ["window", "pagehide"],
  ["window", "pageshow"],
  ["document", "visibilitychange"],
]);

/** Follows a page's life as far as it matters to a connection: leaving, coming back, waking up. */
export class PageLife {
  /** Whether the page has been left: it is unloading, or kept for "back". */
  left = false;

  #environment;
  #onWake;
  #onReturn;

  /**
   * @param {Record<string, any>} environment With `window` and `document`, where there are some.
   * @param {() => void} onWake The network may be back, or the page is looked at again.
   * @param {() => void} onReturn The page was left, and is shown again as it was.
   */
  constructor(environment, onWake, onReturn) {
    this.#environment = environment;
    this.#onWake = onWake;
    this.#onReturn = onReturn;
  }

  /** Whether a person has clicked or typed in the last moments. */
  get touched() {
    return this.#environment.window?.navigator?.userActivation?.isActive;
  }

  /**
   * Begin to listen, or stop.
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
    if (type.startsWith("page")) {
      this.left = type === "pagehide";
    }
    if (back) {
      this.#onReturn();
    } else if (!this.left && this.#environment.document?.visibilityState !== "hidden") {
      this.#onWake();
    }
  }
}
