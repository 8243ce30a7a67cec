/** What may mean that the network is back, or that somebody looks at the page again. */
const WAKING = /** @type {const} */ ([
  ["window", "online"],
  ["document", "visibilitychange"],
]);

/** Follows a page's life as far as it matters to a connection: leaving, coming back, waking up. */
export class PageLife {
  /** Whether the page has been left: it is unloading, or kept for "back". */
  left = false;

  #environment;
  #onWake;
  #onReturn;
  #hide = () => {
    this.left = true;
  };
  #show = ({ persisted }) => {
    const back = persisted || this.left;
    this.left = false;
    (back ? this.#onReturn : this.#onWake)();
  };
  #wake = () => {
    if (this.#environment.document?.visibilityState !== "hidden") {
      this.#onWake();
    }
  };

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
    return this.#environment.window?.navigator?.userActivation?.isActive ?? false;
  }

  /** Begin to listen. */
  follow() {
    this.#each("addEventListener");
  }

  /** Listen no more. */
  leave() {
    this.left = false;
    this.#each("removeEventListener");
  }

  /** @param {"addEventListener" | "removeEventListener"} method */
  #each(method) {
    for (const [target, event] of WAKING) {
      this.#environment[target]?.[method](event, this.#wake);
    }
    this.#environment.window?.[method]("pagehide", this.#hide);
    this.#environment.window?.[method]("pageshow", this.#show);
  }
}
