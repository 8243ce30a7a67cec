import { DeferredTransport } from "./deferred_transport.js";
import { WebSocketTransport } from "./websocket_transport.js";

/**
 * @import { Transport, TransportEvents } from "./websocket_transport.js"
 * @import { Ways } from "./ways.js"
 */

/** The storage key for the transport that worked instead of a WebSocket. */
const STORED = "djhookbox:transport";

/** Failures, or connections cut early, in a row until the transport is considered at fault. */
const PATIENCE = 3;

/** Milliseconds to open a WebSocket, if no proxy delays it. */
const HASTE = 8000;

/**
 * Creates a link, with the arguments of `Link` except for the route.
 *
 * @typedef {(url: string, options: Record<string, any>, environment: Record<string, any>,
 *   events: any) => any} OpenLink
 */

/**
 * The dependencies of `Ways`.
 *
 * @typedef {object} Parts
 * @property {(url: string, events: TransportEvents) => Transport} openSocket
 * @property {OpenLink} openLink
 * @property {() => Promise<any[]>} loadShared
 * @property {any} CspTransport
 * @property {any} Detour
 */

/**
 * Chooses the transport: a WebSocket if possible. The code for other transports is loaded only if a
 * WebSocket fails, or if the page's options or the last visit require it.
 */
export class Route {
  #options;
  #environment;
  #openLink;
  #failures = 0;
  #shortLives = 0;
  #proven = false;
  /** @type {Ways | null} */
  #ways = null;
  /** Whether other transports are needed. */
  #needed;
  /** The method to call on `Ways` once it is loaded. @type {"" | "advance" | "giveUp"} */
  #news = "";

  /**
   * @param {Record<string, any>} options As those of `Connection`.
   * @param {Record<string, any>} environment
   * @param {OpenLink} openLink Creates the shared link, if this tab holds it.
   */
  constructor(options, environment, openLink) {
    this.#options = options;
    this.#environment = environment;
    this.#openLink = openLink;
    this.#needed = this.#must;
  }

  /** The kind of transport in use: `websocket`, `streaming`, `polling`… */
  get kind() {
    const { transport, shared, transports = [] } = this.#options;
    return this.#ways?.kind ?? (shared ? "shared" : transport ? "custom" : (transports[0] ?? "websocket"));
  }

  /**
   * Return the milliseconds to wait for the transport to open or, once open, for CONNECTED.
   *
   * @param {boolean} opened
   */
  patience(opened) {
    const hasty = !opened && this.#environment.fetch && !this.#options.transport;
    return this.#ways?.patience(opened) ?? (hasty ? HASTE : this.#options.timeout);
  }

  /**
   * Open a transport.
   *
   * @param {string} url
   * @param {TransportEvents} events
   * @returns {Transport}
   */
  open(url, events) {
    if (!this.#needed || this.#ways?.kind === "websocket") {
      return this.#direct(url, events);
    }
    return new DeferredTransport(async () => {
      this.#ways ??= await this.#load();
      return this.#ways.opener(url, events);
    }, events);
  }

  /**
   * Note that the transport works.
   *
   * @param {string} url
   * @param {() => boolean} isIdle Whether no answer is outstanding.
   * @param {() => void} begin Reconnects.
   */
  succeeded(url, isIdle, begin) {
    this.#failures = 0;
    this.#proven = true;
    this.#ways?.succeeded(url, isIdle, begin);
  }

  /** Note that the connection has ended. */
  ended() {
    this.#ways?.ended();
  }

  /**
   * Note that the transport failed.
   *
   * @param {boolean} opened Whether it had opened.
   * @returns {boolean} Whether to try the next transport immediately.
   */
  failed(opened) {
    if (this.#needed && !this.#ways) {
      this.#needed = this.#must; // the code could not be loaded
      return false;
    }
    if (opened && this.kind === "shared") {
      return false; // there is a hub, which finds a transport itself
    }
    this.#failures += 1;
    return this.#failures >= (this.#proven ? PATIENCE : 1) && this.#change("advance");
  }

  /** Note that the connection was cut soon after it was opened. */
  broke() {
    this.#shortLives += 1;
    if (this.#shortLives >= PATIENCE && this.kind !== "shared") {
      this.#change("giveUp");
    }
  }

  /** Note that the connection is stable. */
  lasted() {
    this.#shortLives = 0;
  }

  /** Whether the page wants another transport than a WebSocket, or the last visit needed one. */
  get #must() {
    const { shared, transports, transport } = this.#options;
    try {
      return shared || (!transport && (transports || !this.#environment.WebSocket || this.#environment.storage?.getItem(STORED)));
    } catch {
      return false; // the browser denies access to the storage
    }
  }

  /** Take another way, if there may be one; return whether to try it immediately. */
  #change(news) {
    this.#failures = this.#shortLives = 0;
    this.#proven = false;
    if (this.#ways) {
      return this.#ways[news]();
    }
    this.#needed = this.#environment.fetch && !this.#options.transport;
    this.#news = news;
    return this.#needed;
  }

  async #load() {
    const from = (name, load) => {
      const address = import.meta.url && this.#options.modules?.[name]; // static files can be renamed
      return address ? import(/* webpackIgnore: true */ /* @vite-ignore */ address) : load();
    };
    const loaded = await from("csp_transport", () => import("./csp_transport.js"));
    const ways = new loaded.Ways(this.#options, this.#environment, {
      ...loaded,
      openLink: this.#openLink,
      openSocket: (url, events) => this.#direct(url, events),
      loadShared: () =>
        Promise.all(
          [
            () => import("./shared_transport.js"),
            () => import("./shared_tabs.js"),
            () => import("./shared_hub.js"),
          ].map((load) => from("shared", load)),
        ),
    });
    this.#news && ways[this.#news]();
    return ways;
  }

  /** Open a transport whose code is loaded; an exception counts as a failure of the transport. */
  #direct(url, events) {
    try {
      return new (this.#options.transport ?? WebSocketTransport)(url, events, this.#environment);
    } catch (error) {
      // Browsers refuse ws: on https: pages, and invalid addresses.
      return new DeferredTransport(() => Promise.reject(error), events);
    }
  }
}
