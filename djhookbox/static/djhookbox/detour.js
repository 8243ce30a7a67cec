/** The storage key for the transport that worked instead of a WebSocket, and the time. */
const STORED = "djhookbox:transport";

/** Milliseconds between checks whether any answer is outstanding; until then, nothing changes. */
const BUSY = 1000;

/** A day: browsers treat very long delays as zero. */
const LONGEST = 86_400_000;

/**
 * Accompanies a connection that uses a fallback because no WebSocket could be opened. It stores that
 * for the next page, and tries the better transport from time to time. Reconnecting loses nothing,
 * thanks to resume.
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
   * @param {string} way.kind The transport in use.
   * @param {number} way.retry Milliseconds until the better transport is tried.
   * @param {() => boolean} way.isIdle Whether no answer is outstanding.
   * @param {(events: any) => any} [way.open] Opens the better transport, if there is one.
   * @param {() => void} way.take Switches to it.
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
      // Browsers can deny access to the storage; then each page finds the transport itself.
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
