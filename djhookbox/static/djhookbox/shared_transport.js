import { HANDED_ON, LOST, NORMAL } from "./close_codes.js";

/**
 * @import { SharedTabs } from "./shared_tabs.js"
 * @import { TransportEvents } from "./websocket_transport.js"
 */

/** The groups for which connections lead, or wait to lead. @type {WeakMap<object, string>} */
const candidates = new WeakMap();

/**
 * Transports text to the hub that holds the connection for all tabs. The hub is in the tab that leads,
 * which holds a lock of the browser. When that tab is closed, left or frozen, the next one takes over.
 *
 * Only tabs that provably belong to the same user share the lock and the channel; see `group()`.
 */
export class SharedTransport {
  #events;
  #environment;
  #candidate;
  #name = "";
  #options;
  #introduction;
  #id = someId();
  #ended = false;
  /** The id of the hub that admitted this tab. */
  #hub = "";
  /** @type {BroadcastChannel | null} */
  #channel = null;
  #openTabs;
  #release = () => {};
  #hide = () => this.close(NORMAL, "The page is unloading.");
  #resume = () => this.#stand();

  /**
   * @param {string} url
   * @param {TransportEvents} events
   * @param {Record<string, any>} environment
   * @param {Record<string, any>} options As those of `Connection`.
   * @param {(environment: Record<string, any>) => SharedTabs} openTabs Creates the tabs with
   *   which the leading tab admits others.
   */
  constructor(url, events, environment, options, openTabs) {
    this.#events = events;
    this.#openTabs = openTabs;
    this.#candidate = environment;
    this.#environment = {
      BroadcastChannel: globalThis.BroadcastChannel,
      locks: globalThis.navigator?.locks,
      crypto: globalThis.crypto,
      ...environment,
    };
    this.#options = options;
    const { user, timeout, heartbeat, transports } = options;
    // A copy, because the proxies of frameworks cannot be sent to other tabs.
    this.#introduction = { url, options: { user, timeout, heartbeat, transports: transports && [...transports] } };
    this.#environment.window?.addEventListener("pagehide", this.#hide);
    this.#environment.document?.addEventListener("resume", this.#resume);
    // Browsers can refuse locks, for example in a sandboxed frame.
    this.#begin(url).catch((error) => this.#end(LOST, String(error)));
  }

  /** @param {string} text */
  send(text) {
    this.#post({ text });
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  close(code, reason) {
    if (!this.#ended) {
      this.#post({ leave: true });
      this.#end(code, reason);
    }
  }

  /** @param {string} url */
  async #begin(url) {
    const { locks, BroadcastChannel } = this.#environment;
    const name = locks && BroadcastChannel && (await group(url, this.#options, this.#environment.crypto));
    if (!name) {
      throw new Error("Tabs cannot share a connection here."); // asynchronously, when the caller knows this object
    }
    this.#name = name;
    // While this lock is held, the hub knows that the tab exists.
    await locks.request(this.#id, () => {
      if (this.#ended) {
        return undefined;
      }
      this.#channel = new BroadcastChannel(name);
      this.#channel.onmessage = ({ data }) => this.#hear(data);
      this.#join();
      this.#stand();
      return new Promise((resolve) => {
        this.#release = () => resolve(undefined);
      });
    });
  }

  /** Wait to lead, once for each connection of the page. */
  #stand() {
    const candidate = this.#candidate;
    const name = this.#name;
    if (name && candidates.get(candidate) !== name) {
      candidates.set(candidate, name);
      lead(name, this.#environment, this.#openTabs)
        .catch(() => {}) // aborted, or refused
        .then(() => candidates.get(candidate) === name && candidates.delete(candidate));
    }
  }

  /** @param {Record<string, any>} message */
  #post(message) {
    this.#channel?.postMessage({ ...message, tab: this.#id });
  }

  #join() {
    this.#post({ join: this.#introduction });
  }

  /**
   * Handle a message between the tabs.
   *
   * @param {Record<string, any>} message
   */
  #hear({ to, hub, ...message }) {
    if (to === this.#id) {
      this.#hub = hub;
      this.#take(message);
    } else if (to === "all" && !this.#hub) {
      this.#join(); // nobody received the first request
    } else if (to === "all" && hub !== this.#hub) {
      this.#end(HANDED_ON, "Another tab has taken over.");
    }
  }

  /**
   * Handle a message from the hub.
   *
   * @param {Record<string, any>} message
   */
  #take({ joined, text, closed }) {
    if (this.#ended) {
      return;
    }
    if (joined) {
      this.#events.onOpen();
    } else if (closed) {
      this.#end(closed[0], closed[1]);
    } else if (text) {
      this.#events.onText(text);
    }
  }

  #end(code, reason) {
    if (!this.#ended) {
      this.#ended = true;
      this.#environment.window?.removeEventListener("pagehide", this.#hide);
      this.#environment.document?.removeEventListener("resume", this.#resume);
      this.#channel?.close();
      this.#release();
      this.#events.onClose(code, reason);
    }
  }
}

/**
 * Wait for the lock, and then hold the connection for all tabs until the page is left or frozen:
 * other tabs must not depend on a page that is.
 */
async function lead(name, environment, openTabs) {
  const { locks, window, document } = environment;
  const given = new AbortController();
  const giveUp = () => given.abort();
  window?.addEventListener("pagehide", giveUp);
  document?.addEventListener("freeze", giveUp);
  try {
    await locks.request(name, { signal: given.signal }, () => serve(name, environment, openTabs, given.signal));
  } finally {
    window?.removeEventListener("pagehide", giveUp);
    document?.removeEventListener("freeze", giveUp);
  }
}

/** Run the hub of the tabs until the signal is aborted. */
function serve(name, environment, openTabs, signal) {
  return new Promise((resolve) => {
    const channel = new environment.BroadcastChannel(name);
    const hub = someId();
    const tabs = openTabs(environment);
    channel.onmessage = ({ data: { to, tab, ...message } }) => {
      if (to === undefined) {
        tabs.receive(tab, message, (answer) => channel.postMessage({ ...answer, to: tab, hub }));
      }
    };
    channel.postMessage({ to: "all", hub });
    signal.addEventListener("abort", () => {
      tabs.close();
      channel.close();
      resolve(undefined);
    });
  });
}

/**
 * Name the group of tabs that provably belong to the same user, so that no tab is ever treated as
 * another user: all of them identify themselves in the same way. The server verifies the name that
 * the site printed; a token identifies the user. The result of a function is not known in advance.
 *
 * @param {string} url
 * @param {Record<string, any>} options
 * @param {{ subtle: any }} crypto
 * @returns {Promise<string | undefined>} Undefined if it cannot be known.
 */
async function group(url, { user, token, cookieString, payload }, crypto) {
  if (typeof token === "function" || (user === undefined && !token)) {
    return undefined;
  }
  const text = JSON.stringify([url, user, token, cookieString, payload]);
  // Tokens are secret and must not appear in the names of locks.
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `djhookbox ${[...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function someId() {
  return `djhookbox ${Date.now()} ${Math.random()}`;
}
