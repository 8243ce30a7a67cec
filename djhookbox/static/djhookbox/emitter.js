/** A list of listeners for each event name. */
export class Emitter {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();

  /**
   * Call `listener` on each `event`.
   *
   * @param {string} event
   * @param {(detail: any) => void} listener
   * @returns {this}
   */
  on(event, listener) {
    if (typeof listener !== "function") {
      throw new TypeError(`The listener for "${event}" must be a function.`);
    }
    if (!this.#listeners.has(event)) {
      this.#listeners.set(event, new Set());
    }
    this.#listeners.get(event).add(listener);
    return this;
  }

  /**
   * Stop calling `listener` on `event`.
   *
   * @param {string} event
   * @param {(detail: any) => void} listener
   * @returns {this}
   */
  off(event, listener) {
    this.#listeners.get(event)?.delete(listener);
    return this;
  }

  /**
   * Call the listeners, and say whether there was one.
   *
   * @param {string} event
   * @param {any} [detail]
   * @returns {boolean}
   */
  emit(event, detail) {
    const listeners = [...(this.#listeners.get(event) ?? [])];
    for (const listener of listeners) {
      guarded(listener, detail);
    }
    return listeners.length > 0;
  }

  /**
   * Call the method that 2011's pages assign (`connection.onOpen = …`), if there is one.
   *
   * @param {string} name
   * @param {...any} args
   * @returns {boolean} Whether there was one.
   */
  callback(name, ...args) {
    if (typeof this[name] !== "function") {
      return false;
    }
    guarded((...rest) => this[name](...rest), ...args);
    return true;
  }
}

/** Keep a page's mistake from stopping the client: it is reported as any uncaught error is. */
function guarded(listener, ...args) {
  try {
    listener(...args);
  } catch (error) {
    if (typeof globalThis.reportError === "function") {
      globalThis.reportError(error);
    } else {
      console.error(error);
    }
  }
}
