/** Under this name the browser's storage keeps what has worked instead of a WebSocket, and when. */
const STORED = "djhookbox:transport";

/** While answers are outstanding nothing is changed; so often it is looked at again. */
const BUSY = 1000;

/** A day: browsers take very long delays for none. */
const LONGEST = 86_400_000;

/**
 * A connection that takes a way around, since no WebSocket got through: remembers that for the
 * next page, and tries the better way from time to time. A reconnect with resume loses nothing.
 */
export class Detour {
  #environment;
  #timer;
  #retry;
  #isIdle;
  #open;
  #take;
  #ended = false;

  /**
   * @param {Record<string, any>} environment
   * @param {object} way
   * @param {string} way.kind The transport that is taken.
   * @param {number} way.retry Milliseconds until the better one is tried.
   * @param {() => boolean} way.isIdle Whether no answer is outstanding.
   * @param {(events: any) => any} [way.open] Opens the better one, if there is one.
   * @param {() => void} way.take Takes it.
   */
  constructor(environment, { kind, retry, isIdle, open, take }) {
    this.#environment = environment;
    this.#retry = retry;
    this.#isIdle = isIdle;
    this.#open = open;
    this.#take = take;
    try {
      environment.storage?.setItem(STORED, `${kind} ${environment.now()}`);
    } catch {
      // A browser may keep its storage closed; then each page finds out by itself.
    }
    if (open) {
      this.#wait(retry);
    }
  }

  /** The connection has ended. */
  end() {
    this.#ended = true;
    this.#environment.clearTimeout(this.#timer);
  }

  /** @param {number} delay */
  #wait(delay) {
    const look = () => (this.#isIdle() ? this.#probe() : this.#wait(BUSY));
    this.#timer = this.#environment.setTimeout(look, Math.min(delay, LONGEST));
  }

  #probe() {
    const probe = this.#open({
      onOpen: () => {
        const ended = this.#ended;
        this.end();
        probe.close(1000, "");
        if (!ended) {
          this.#take();
        }
      },
      onText: () => {},
      onClose: () => this.#ended || this.#wait(this.#retry),
    });
  }
}
