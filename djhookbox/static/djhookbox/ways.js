/**
 * @import { Parts } from "./route.js"
 * @import { Transport, TransportEvents } from "./websocket_transport.js"
 */

/** The storage key for the transport that worked instead of a WebSocket, and the time. */
const STORED = "djhookbox:transport";

/** Milliseconds for which the stored transport is tried first; then the better one is tried again. */
const REMEMBERED = 10 * 60_000;

/** Milliseconds to open a WebSocket, or to CONNECT over a stream, if no proxy delays it. */
const HASTE = 8000;

/**
 * Chooses the best transport that works: a WebSocket, otherwise a stream, otherwise polling.
 *
 * If proxies block WebSockets, the fallback is kept in the browser's storage and used immediately by
 * the next page. The better transport is tried again from time to time.
 */
export class Ways {
  #kinds;
  #environment;
  #options;
  #index = 0;
  /** How often a transport was abandoned because its connections were cut. */
  #givenUp = 0;
  /** @type {{ end: () => void } | undefined} */
  #detour;
  #parts;

  /**
   * @param {Record<string, any>} options As those of `Connection`.
   * @param {Record<string, any>} environment
   * @param {Parts} parts
   */
  constructor(options, environment, parts) {
    this.#options = options;
    this.#environment = environment;
    this.#parts = parts;
    const { transports = ["websocket", "streaming", "polling"] } = options;
    const usable = { websocket: environment.WebSocket, streaming: environment.fetch, polling: environment.fetch };
    this.#kinds = transports.filter((kind) => usable[kind]);
    if (options.shared) {
      this.#kinds.unshift("shared");
    } else {
      this.#recall();
    }
  }

  /** The kind of transport in use: `websocket`, `streaming`, `polling`… */
  get kind() {
    return this.#kinds[this.#index] ?? "websocket";
  }

  /** Milliseconds until a better transport is tried again. */
  get #retry() {
    return (this.#environment.retryTransport ?? REMEMBERED) * 2 ** this.#givenUp;
  }

  /** Whether this is the last transport to try. */
  get #last() {
    return this.#index >= this.#kinds.length - 1;
  }

  /**
   * Return the milliseconds to wait for the transport to open or, once open, for CONNECTED.
   *
   * @param {boolean} opened
   */
  patience(opened) {
    const { timeout } = this.#options;
    if (opened && this.kind === "shared") {
      return 2 * HASTE + timeout; // the hub may have to find a transport first
    }
    const through = opened && this.kind !== "streaming";
    return this.#last || through ? timeout : HASTE;
  }

  /**
   * Load the code of the transport; resolve to a function that opens it.
   *
   * @param {string} url
   * @param {TransportEvents} events
   * @returns {Promise<() => Transport>}
   */
  async opener(url, events) {
    const { kind } = this;
    const { loadShared, openLink, openSocket, CspTransport } = this.#parts;
    if (kind === "shared") {
      const [{ SharedTransport }, { SharedTabs }, { SharedHub }] = await loadShared();
      const { modules } = this.#options;
      const open = (address, theirs, ...rest) => openLink(address, { ...theirs, modules }, ...rest);
      const openTabs = (surroundings) => new SharedTabs(surroundings, new SharedHub(surroundings, open));
      return () => new SharedTransport(url, events, this.#environment, this.#options, openTabs);
    }
    if (kind === "websocket") {
      return () => openSocket(url, events);
    }
    const { logger = console } = this.#options;
    const warn = (text) => logger.warn(text);
    return () => new CspTransport(url, events, this.#environment, kind === "streaming", warn);
  }

  /**
   * Note that the transport works.
   *
   * @param {string} url
   * @param {() => boolean} isIdle Whether no answer is outstanding.
   * @param {() => void} begin Reconnects.
   */
  succeeded(url, isIdle, begin) {
    const { kind } = this;
    if (kind === "websocket") {
      this.#stored((storage) => storage.removeItem(STORED));
    } else if (kind !== "shared") {
      const open = this.#kinds[0] === "websocket" && ((events) => this.#parts.openSocket(url, events));
      const take = () => {
        this.#index = 0;
        begin();
      };
      const way = { kind, retry: this.#retry, isIdle, open, take };
      this.#detour = new this.#parts.Detour(this.#environment, way);
    }
  }

  /** Note that the connection has ended. */
  ended() {
    this.#detour?.end();
  }

  /** Use the next transport, because the connections of this one are cut. */
  giveUp() {
    this.#givenUp += this.#last ? 0 : 1;
    this.advance();
  }

  /** Use the next transport; return whether it is not the first one. */
  advance() {
    this.#index = this.#last ? 0 : this.#index + 1;
    return this.#index > 0;
  }

  #recall() {
    const [kind, at] = String(this.#stored((storage) => storage.getItem(STORED))).split(" ");
    const index = this.#kinds.indexOf(kind);
    const age = this.#environment.now() - Number(at);
    if (index > 0 && age >= 0 && age < REMEMBERED) {
      this.#index = index;
    }
  }

  /** Use the browser's storage, if there is one and access is allowed. */
  #stored(use) {
    try {
      return use(this.#environment.storage);
    } catch {
      return undefined; // then each page finds the transport itself
    }
  }
}
