/**
 * A list of listeners for each event name.
 *
 * @template {Record<string, any>} Events The argument of the listeners for each event.
 */
export class Emitter {
  /**
   * The listeners of each event, with the signals of their registrations (null without a signal).
   *
   * @type {Map<string, Map<(detail: any) => void, Set<AbortSignal | null>>>}
   */
  #listeners = new Map();
  /** Increases to stop the event that is being emitted. */
  #round = 0;

  /**
   * Called for every event before the listeners, and counted as a listener if it returns true. For
   * layers on top of the client.
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
   * @param {{ signal?: AbortSignal }} [options] `signal`: remove the listener when this is aborted,
   *   as in `addEventListener()`.
   * @returns {this}
   */
  on(event, listener, { signal = null } = {}) {
    if (typeof listener !== "function") {
      throw new TypeError(`The listener for "${event}" must be a function.`);
    }
    if (signal?.aborted) {
      return this;
    }
    const listeners = entry(this.#listeners, event, Map);
    const owners = entry(listeners, listener, Set);
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

  /** Vue and Alpine wrap plain objects only; this tag prevents them from wrapping the emitter. */
  get [Symbol.toStringTag]() {
    return "Hookbox";
  }

  /**
   * Call the listeners, and return whether there was one.
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
      // A listener may have removed others, or ended everything.
      if (round === this.#round && listeners.has(listener)) {
        guarded(listener, detail);
      }
    }
    return observed || called.length > 0;
  }

  /**
   * Stop emitting the current event to further listeners.
   *
   * @internal
   */
  hush() {
    this.#round += 1;
  }

  /**
   * Remove all listeners.
   *
   * @internal
   */
  clear() {
    this.#listeners.clear();
  }
}

/** Return the value of a key; create it if it does not exist. */
function entry(map, key, Kind) {
  if (!map.has(key)) {
    map.set(key, new Kind());
  }
  return map.get(key);
}

/**
 * Call a listener. An error in it is reported like any uncaught error and does not stop the client.
 *
 * @param {(...args: any[]) => void} listener
 * @param {...any} args
 */
export function guarded(listener, ...args) {
  try {
    listener(...args);
  } catch (error) {
    (globalThis.reportError ?? console.error)(error);
  }
}
