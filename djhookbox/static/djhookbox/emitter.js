/**
 * A list of listeners for each event name.
 *
 * @template {Record<string, any>} Events The argument of the listeners for each event.
 */
export class Emitter {
  /**
   * The registrations for each event. A signal does not refer to them: it can live longer.
   *
   * @type {Map<string, { listener: (detail: any) => void, signal?: AbortSignal, gone?: boolean }[]>}
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
  on(event, listener, { signal } = {}) {
    if (typeof listener !== "function") {
      throw new TypeError(`The listener for "${event}" must be a function.`);
    }
    const known = this.#live(event);
    known.some((one) => one.listener === listener && one.signal === signal) || known.push({ listener, signal });
    this.#listeners.set(event, known);
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
    this.#live(event).forEach((one) => (one.gone ||= one.listener === listener));
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
    const called = new Set();
    for (const one of this.#live(event)) {
      // A listener may have removed others, or ended everything.
      if (round === this.#round && isLive(one) && !called.has(one.listener)) {
        called.add(one.listener);
        guarded(one.listener, detail);
      }
    }
    return observed || called.size > 0;
  }

  /** Return the registrations for an event that have not ended. */
  #live(event) {
    return (this.#listeners.get(event) ?? []).filter(isLive);
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

/**
 * Return whether a registration has not ended.
 *
 * @param {{ signal?: AbortSignal, gone?: boolean }} registration
 */
const isLive = ({ signal, gone }) => !gone && !signal?.aborted;

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
