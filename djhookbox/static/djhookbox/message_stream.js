/** How many messages wait for a loop that is slow; then the oldest go, and the loop is told. */
const LIMIT = 1000;

/**
 * A subscription's messages for one `for await` loop.
 *
 * @implements {AsyncIterableIterator<import("./subscription.js").Message>}
 */
export class MessageStream {
  /** @type {any[]} */
  #messages = [];
  /** @type {number | null} */
  #missed = 0;
  #ended = false;
  #error = null;
  #wake = () => {};
  #stop;

  /** @param {import("./subscription.js").Subscription} subscription */
  constructor(subscription) {
    const listeners = /** @type {[any, (detail: any) => void][]} */ ([
      ["publish", (message) => this.#add(message)],
      ["gap", ({ missed }) => this.#lose(missed)],
      ["refused", (error) => this.#end(error)],
      ["unsubscribed", () => this.#end(null)],
    ]);
    this.#stop = () => listeners.forEach(([event, listener]) => subscription.off(event, listener));
    listeners.forEach(([event, listener]) => subscription.on(event, listener));
  }

  async next() {
    while (this.#messages.length === 0 && !this.#ended) {
      await new Promise((resolve) => {
        this.#wake = () => resolve(undefined);
      });
    }
    if (this.#messages.length > 0) {
      return { value: this.#messages.shift(), done: false };
    }
    const error = this.#error;
    this.#error = null;
    if (error) {
      throw error;
    }
    return { value: undefined, done: true };
  }

  async return() {
    this.#messages = [];
    this.#end(null);
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }

  #add(message) {
    if (this.#missed !== 0) {
      message = { ...message, missed: this.#missed };
      this.#missed = 0;
    }
    this.#messages.push(message);
    if (this.#messages.length > LIMIT) {
      const { missed = 0 } = this.#messages.shift();
      const first = this.#messages[0];
      const before = missed === null || first.missed === null;
      this.#messages[0] = { ...first, missed: before ? null : missed + 1 + (first.missed ?? 0) };
    }
    this.#wake();
  }

  /** @param {number | null} missed */
  #lose(missed) {
    this.#missed = missed === null || this.#missed === null ? null : this.#missed + missed;
  }

  #end(error) {
    this.#stop();
    this.#ended = true;
    this.#error = error;
    this.#wake();
  }
}
