import { DeferredTransport } from "./deferred_transport.js";
import { WebSocketTransport } from "./websocket_transport.js";

/**
 * @import { Transport, TransportEvents } from "./websocket_transport.js"
 * @import { Ways } from "./ways.js"
 */

/** Under this name the browser's storage keeps what has worked instead of a WebSocket. */
const STORED = "djhookbox:transport";

/** So many failures in a row, or connections that are cut at once, are the transport's fault. */
const PATIENCE = 3;

/** Opening a WebSocket that no proxy holds up. */
const HASTE = 8000;

/**
 * What makes a link, with the arguments of `Link` but for the route.
 *
 * @typedef {(url: string, options: Record<string, any>, environment: Record<string, any>,
 *   events: any) => any} OpenLink
 */

/**
 * What `Ways` are made of.
 *
 * @typedef {object} Parts
 * @property {(url: string, events: TransportEvents) => Transport} openSocket
 * @property {OpenLink} openLink
 * @property {() => Promise<any[]>} loadShared
 * @property {any} CspTransport
 * @property {any} Detour
 */

/**
 * Chooses the transport: a WebSocket, as long as that is all it takes. What other ways there are is
 * loaded only where it is not, or where the page or the last visit says so.
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
  /** Whether other ways are needed. */
  #needed;
  /** What they are told when they are there. @type {"" | "advance" | "giveUp"} */
  #news = "";

  /**
   * @param {Record<string, any>} options As those of `Connection`.
   * @param {Record<string, any>} environment
   * @param {OpenLink} openLink Makes the link that the tabs share, should this one hold it.
   */
  constructor(options, environment, openLink) {
    this.#options = options;
    this.#environment = environment;
    this.#openLink = (url, theirs, surroundings, events) =>
      openLink(url, { ...theirs, modules: options.modules }, surroundings, events);
    this.#needed = this.#must;
  }

  /** The kind of transport that is taken now: `websocket`, `streaming`, `polling`… */
  get kind() {
    const { transport, shared, transports = [] } = this.#options;
    return this.#ways?.kind ?? (shared ? "shared" : transport ? "custom" : (transports[0] ?? "websocket"));
  }

  /**
   * How many milliseconds opening may take, or when that is done the answer to CONNECT.
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
   * The transport works.
   *
   * @param {string} url
   * @param {() => boolean} isIdle Whether no answer is outstanding.
   * @param {() => void} begin Connects anew.
   */
  succeeded(url, isIdle, begin) {
    this.#failures = 0;
    this.#proven = true;
    this.#ways?.succeeded(url, isIdle, begin);
  }

  /** The connection has ended. */
  ended() {
    this.#ways?.ended();
  }

  /**
   * The transport did not get through.
   *
   * @param {boolean} opened Whether it did open.
   * @returns {boolean} Whether to try the next one at once.
   */
  failed(opened) {
    if (this.#ways) {
      return this.#ways.failed(opened);
    }
    if (this.#needed) {
      this.#needed = this.#must; // they could not be loaded
      return false;
    }
    this.#failures += 1;
    return this.#failures >= (this.#proven ? PATIENCE : 1) && this.#look("advance");
  }

  /** The connection was cut soon after it was made. */
  broke() {
    this.#shortLives += 1;
    if (this.#ways) {
      this.#ways.broke();
    } else if (this.#shortLives >= PATIENCE) {
      this.#look("giveUp");
    }
  }

  /** The connection has lasted. */
  lasted() {
    this.#shortLives = 0;
    this.#ways?.lasted();
  }

  /** Whether a WebSocket is not what the page wants, or was in vain the last time. */
  get #must() {
    const { shared, transports, transport } = this.#options;
    try {
      return shared || (!transport && (transports || !this.#environment.WebSocket || this.#environment.storage?.getItem(STORED)));
    } catch {
      return false; // the storage is closed
    }
  }

  /** Look for other ways, if there may be some. */
  #look(news) {
    this.#failures = this.#shortLives = 0;
    this.#needed = Boolean(this.#environment.fetch) && !this.#options.transport;
    this.#news = news;
    return this.#needed;
  }

  async #load() {
    const from = (name, load) => {
      const address = import.meta.url && this.#options.modules?.[name]; // static files may be renamed
      return address ? import(/* webpackIgnore: true */ /* @vite-ignore */ address) : load();
    };
    const { Ways, CspTransport, Detour } = await from("csp_transport", () => import("./csp_transport.js"));
    const ways = new Ways(this.#options, this.#environment, {
      CspTransport,
      Detour,
      openLink: this.#openLink,
      openSocket: (url, events) => this.#direct(url, events),
      loadShared: () =>
        Promise.all(
          [
            () => import("./shared_transport.js"),
            () => import("./shared_door.js"),
            () => import("./shared_hub.js"),
          ].map((load) => from("shared", load)),
        ),
    });
    if (this.#news) {
      ways[this.#news]();
    }
    return ways;
  }

  /** Open a transport that needs no loading; what it throws is a failure as any other. */
  #direct(url, events) {
    try {
      return new (this.#options.transport ?? WebSocketTransport)(url, events, this.#environment);
    } catch (error) {
      // A browser opens no ws: from a page of https:, and nothing at an address that is none.
      return new DeferredTransport(() => Promise.reject(error), events);
    }
  }
}
