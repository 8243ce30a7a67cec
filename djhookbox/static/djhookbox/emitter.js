/**
 * A list of listeners for each event name.
 *
 * @template {Record<string, any>} Events What the listeners of each event are given.
 */
export class Emitter {
  /** @type {Map<string, Set<(detail: any) => void>>} */
  #listeners = new Map();

  /**
   * Told of everything before the listeners are, and counted as one of them if it returns true;
   * for layers upon the client.
   *
   * @internal
   * @type {((event: string, detail: any) => boolean) | null}
   */
  observer = null;

  /**
   * Call `listener` on each `event`.
   *
   * @template {keyof Events & string} Name
   * @param {Name} event
   * @param {(detail: Events[Name]) => void} listener
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
   * @template {keyof Events & string} Name
   * @param {Name} event
   * @param {(detail: Events[Name]) => void} listener
   * @returns {this}
   */
  off(event, listener) {
    this.#listeners.get(event)?.delete(listener);
    return this;
  }

  /**
   * Call the listeners, and say whether there was one.
   *
   * @internal
   * @param {string} event
   * @param {any} [detail]
   * @returns {boolean}
   */
  emit(event, detail) {
    const observed = this.observer?.(event, detail) ?? false;
    const listeners = [...(this.#listeners.get(event) ?? [])];
    for (const listener of listeners) {
      guarded(listener, detail);
    }
    return observed || listeners.length > 0;
  }
}

/**
 * Keep a page's mistake from stopping the client: it is reported as any uncaught error is.
 *
 * @param {(...args: any[]) => void} listener
 * @param {...any} args
 */
export function guarded(listener, ...args) {
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
