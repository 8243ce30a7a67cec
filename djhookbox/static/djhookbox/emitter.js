/**
 * A list of listeners for each event name.
 *
 * @template {Record<string, any>} Events What the listeners of each event are given.
 */
export class Emitter {
  /**
   * The listeners of each event with those that registered them: signals, or null without one.
   *
   * @type {Map<string, Map<(detail: any) => void, Set<AbortSignal | null>>>}
   */
  #listeners = new Map();
  /** Grows when what is being told is not to be told any further. */
  #round = 0;

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
   * @param {{ signal?: AbortSignal }} [options] `signal`: stop calling it when this is aborted, as
   *   with `addEventListener()`.
   * @returns {this}
   */
  on(event, listener, { signal = null } = {}) {
    if (typeof listener !== "function") {
      throw new TypeError(`The listener for "${event}" must be a function.`);
    }
    if (signal?.aborted) {
      return this;
    }
    const listeners = entry(this.#listeners, event, () => new Map());
    const owners = entry(listeners, listener, () => new Set());
    if (signal && !owners.has(signal)) {
      signal.addEventListener("abort", () => {
        owners.delete(signal);
        if (owners.size === 0 && listeners.get(listener) === owners) {
          listeners.delete(listener);
        }
      });
    }
    owners.add(signal);
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

  /** Vue and Alpine wrap plain objects only, and take this for another kind; so it keeps working. */
  get [Symbol.toStringTag]() {
    return "Hookbox";
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
    const round = this.#round;
    const observed = this.observer?.(event, detail) ?? false;
    const listeners = this.#listeners.get(event);
    const called = [...(listeners?.keys() ?? [])];
    for (const listener of called) {
      // One may have removed others, or left for good.
      if (round === this.#round && listeners.has(listener)) {
        guarded(listener, detail);
      }
    }
    return observed || called.length > 0;
  }

  /**
   * Tell nobody any more of what is being told at this moment.
   *
   * @internal
   */
  hush() {
    this.#round += 1;
  }

  /**
   * Forget all listeners.
   *
   * @internal
   */
  clear() {
    this.#listeners.clear();
  }
}

/** The value of a key, made if there is none. */
function entry(map, key, make) {
  if (!map.has(key)) {
    map.set(key, make());
  }
  return map.get(key);
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
