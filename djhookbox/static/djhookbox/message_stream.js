/** @import { Message, Subscription } from "./subscription.js" */

/** How many messages wait for a loop that is slow; then the oldest go, and the loop is told. */
const LIMIT = 1000;

/**
 * A subscription's messages for one `for await` loop.
 *
 * @implements {AsyncIterableIterator<Message>}
 */
export class MessageStream {
  /** @type {any[]} */
  #messages = [];
  /** How many before the next one: NaN if nobody knows. */
  #missed = 0;
  #ended = false;
  #error = null;
  /** @type {{ resolve: (result: any) => void, reject: (error: any) => void }[]} */
  #waiting = [];
  #stop;

  /** @param {Subscription} subscription */
  constructor(subscription) {
    const listeners = /** @type {[any, (detail: any) => void][]} */ ([
      ["publish", (message) => this.#add(message)],
      ["gap", ({ missed }) => this.#lose(missed)],
      ["status", () => look()],
    ]);
    const look = () => {
      const { over } = subscription;
      if (over) {
        this.#end(over.code === "closed" ? null : over);
      }
    };
    this.#stop = () => listeners.forEach(([event, listener]) => subscription.off(event, listener));
    listeners.forEach(([event, listener]) => subscription.on(event, listener));
    look();
  }

  next() {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#serve();
    });
  }

  async return() {
    this.#messages = [];
    this.#end(null);
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  /** As that of emitters. */
  get [Symbol.toStringTag]() {
    return "MessageStream";
  }

  #add(message) {
    if (this.#missed !== 0) {
      message = { ...message, missed: this.#missed };
      this.#missed = 0;
    }
    this.#messages.push(message);
    if (this.#messages.length > LIMIT) {
      const [{ missed = 0 }, first] = this.#messages.splice(0, 2);
      this.#messages.unshift({ ...first, missed: missed + 1 + (first.missed ?? 0) });
    }
    this.#serve();
  }

  /** Answer those who wait, in their order, as far as there is something to say. */
  #serve() {
    while (this.#waiting.length > 0 && (this.#messages.length > 0 || this.#ended)) {
      const { resolve, reject } = this.#waiting.shift();
      if (this.#messages.length > 0) {
        const value = this.#messages.shift();
        if (Number.isNaN(value.missed)) {
          value.missed = null;
        }
        resolve({ value, done: false });
      } else if (this.#error) {
        reject(this.#error);
        this.#error = null;
      } else {
        resolve({ value: undefined, done: true });
      }
    }
  }

  /** @param {number | null} missed */
  #lose(missed) {
    this.#missed += missed ?? NaN;
  }

  #end(error) {
    this.#stop();
    this.#ended = true;
    this.#error = error;
    this.#serve();
  }
}
