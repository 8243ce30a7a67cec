/**
 * The number of tabs from which to warn. Browsers open at most six connections to a host (with
 * HTTP/1.1; with HTTP/2, one is sufficient). Each tab uses one of them.
 */
const MANY = 5;

/** Milliseconds to wait for the answers of the other tabs. */
const ANSWERS = 1000;

/** Counts the tabs that hold a connection over HTTP, and warns if there are too many. */
export class Crowd {
  #channel = null;

  /**
   * @param {string} url The address of the requests.
   * @param {Record<string, any>} environment
   * @param {(text: string) => void} warn
   */
  constructor(url, environment, warn) {
    const Channel = environment.BroadcastChannel ?? environment.document?.defaultView?.BroadcastChannel;
    if (!Channel) {
      return;
    }
    const me = `${environment.now()} ${Math.random()}`;
    const others = new Set();
    this.#channel = new Channel(`djhookbox over HTTP ${url}`);
    this.#channel.onmessage = ({ data: { from, to } }) => {
      if (to === me) {
        others.add(from);
      } else if (to === undefined) {
        this.#channel.postMessage({ from: me, to: from });
      }
    };
    this.#channel.postMessage({ from: me });
    environment.setTimeout(() => {
      const tabs = others.size + 1;
      if (this.#channel && tabs >= MANY && !multiplexed(url)) {
        warn(
          `hookbox: ${tabs} tabs hold a connection to ${new URL(url).host} over HTTP. Browsers open ` +
            "at most six per host, so other requests may have to wait. Share one connection " +
            "(connect({ shared: true })), use HTTP/2, or make WebSockets work.",
        );
      }
    }, ANSWERS);
  }

  /** The connection has ended. */
  leave() {
    this.#channel?.close();
    this.#channel = null;
  }
}

/** Return whether the browser reports that the requests use HTTP/2 or HTTP/3. */
function multiplexed(url) {
  /** @type {any[]} */
  const entries = globalThis.performance?.getEntriesByType?.("resource") ?? [];
  return entries.some(({ name, nextHopProtocol }) => name.startsWith(url) && /^h[23]/.test(nextHopProtocol));
}
