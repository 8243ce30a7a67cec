/**
 * Browsers open six connections to a host at once (HTTP/1.1; with HTTP/2 it is one for all). Each
 * tab holds one of them, so that with so many tabs little or nothing is left for requests.
 */
const MANY = 5;

/** Milliseconds in which the other tabs answer. */
const ANSWERS = 1000;

/** Counts the tabs that hold a connection over HTTP, and says so if they are too many. */
export class Crowd {
  #channel = null;

  /**
   * @param {string} url Where the requests go.
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
            "six to a host, so that further requests have to wait. Let the tabs share one " +
            "(connect({ shared: true })), serve it by HTTP/2, or let WebSockets through.",
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

/** Whether the requests go over HTTP/2 or 3, as far as the browser tells. */
function multiplexed(url) {
  /** @type {any[]} */
  const entries = globalThis.performance?.getEntriesByType?.("resource") ?? [];
  return entries.some(({ name, nextHopProtocol }) => name.startsWith(url) && /^h[23]/.test(nextHopProtocol));
}
