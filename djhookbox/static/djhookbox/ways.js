/**
 * @import { Parts } from "./route.js"
 * @import { Transport, TransportEvents } from "./websocket_transport.js"
 */

/** Under this name the browser's storage keeps what has worked instead of a WebSocket, and when. */
const STORED = "djhookbox:transport";

/** So long what worked is tried first; then the better one gets its chance again. */
const REMEMBERED = 10 * 60_000;

/** A transport that has worked is given so many failures in a row: it may be the network. */
const PATIENCE = 3;

/** So many connections in a row that are cut soon after they were made are the transport's fault. */
const SHORT_LIVES = 3;

/** Opening a WebSocket that no proxy holds up, or CONNECT over a stream that none holds back. */
const HASTE = 8000;

/**
 * The transports where a WebSocket is not all: the best that works here, a WebSocket, else a stream,
 * else polling.
 *
 * Where proxies let no WebSocket through, the way around is remembered in the browser's storage
 * and taken at once by the next page; from time to time the better one is tried again.
 */
export class Ways {
  #kinds;
  #environment;
  #options;
  #index = 0;
  #failures = 0;
  #proven = false;
  #shortLives = 0;
  /** How often a transport was given up because its connections were cut. */
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

  /** The kind of transport that is taken now: `websocket`, `streaming`, `polling`… */
  get kind() {
    return this.#kinds[this.#index] ?? "websocket";
  }

  /** How many milliseconds to wait until a better transport is worth a try. */
  get #retry() {
    return (this.#environment.retryTransport ?? REMEMBERED) * 2 ** this.#givenUp;
  }

  /** Whether no other transport is left to try. */
  get #last() {
    return this.#index >= this.#kinds.length - 1;
  }

  /**
   * How many milliseconds opening may take, or when that is done the answer to CONNECT.
   *
   * @param {boolean} opened
   */
  patience(opened) {
    const { timeout } = this.#options;
    if (opened && this.kind === "shared") {
      return 2 * HASTE + timeout; // the hub may have to find a way first
    }
    const through = opened && this.kind !== "streaming";
    return this.#last || through ? timeout : HASTE;
  }

  /**
   * Load what the transport needs, and promise what opens it.
   *
   * @param {string} url
   * @param {TransportEvents} events
   * @returns {Promise<() => Transport>}
   */
  async opener(url, events) {
    const { kind } = this;
    const { loadShared, openLink, openSocket, CspTransport } = this.#parts;
    if (kind === "shared") {
      const [{ SharedTransport }, { SharedDoor }, { SharedHub }] = await loadShared();
      const openDoor = (surroundings) => new SharedDoor(surroundings, new SharedHub(surroundings, openLink));
      return () => new SharedTransport(url, events, this.#environment, this.#options, openDoor);
    }
    if (kind === "websocket") {
      return () => openSocket(url, events);
    }
    const { logger = console } = this.#options;
    const warn = (text) => logger.warn(text);
    return () => new CspTransport(url, events, this.#environment, kind === "streaming", warn);
  }

  /**
   * The transport works.
   *
   * @param {string} url
   * @param {() => boolean} isIdle Whether no answer is outstanding.
   * @param {() => void} begin Connects anew.
   */
  succeeded(url, isIdle, begin) {
    const { kind } = this;
    this.#failures = 0;
    this.#proven = true;
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

  /** The connection has ended. */
  ended() {
    this.#detour?.end();
  }

  /**
   * The transport did not get through.
   *
   * @param {boolean} opened Whether it did open.
   * @returns {boolean} Whether to try the next one at once.
   */
  failed(opened) {
    if (opened && this.kind === "shared") {
      return false; // there is a hub, which looks for a way itself
    }
    this.#failures += 1;
    if (this.#failures < (this.#proven ? PATIENCE : 1)) {
      return false;
    }
    return this.advance();
  }

  /** The connection was cut soon after it was made. */
  broke() {
    this.#shortLives += 1;
    if (this.#shortLives >= SHORT_LIVES && this.kind !== "shared") {
      this.giveUp();
    }
  }

  /** Take the next transport, since the connections of this one are cut. */
  giveUp() {
    this.#givenUp += this.#last ? 0 : 1;
    this.advance();
  }

  /** The connection has lasted. */
  lasted() {
    this.#shortLives = 0;
  }

  /** Take the next transport; say whether it is another one than the first. */
  advance() {
    this.#failures = this.#shortLives = 0;
    this.#proven = false;
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

  /** Use the browser's storage, if it has one and does not keep it closed. */
  #stored(use) {
    try {
      return use(this.#environment.storage);
    } catch {
      return undefined; // then each page finds out by itself
    }
  }
}
