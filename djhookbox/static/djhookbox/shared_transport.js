import { LOST, NORMAL } from "./close_codes.js";

/**
 * @import { SharedDoor } from "./shared_door.js"
 * @import { TransportEvents } from "./websocket_transport.js"
 */

/** Connections that lead, or stand in line for it: of which group of tabs. @type {WeakMap<object, string>} */
const candidates = new WeakMap();

/**
 * Carries text to the hub that holds the one connection of all tabs. It is in the tab that has a
 * certain lock of the browser; when that one closes, is left or frozen, the next in line takes over.
 *
 * Only tabs that are provably the same user have that lock and channel in common; see `group()`.
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
  /** Which hub has taken us in. */
  #hub = "";
  /** @type {BroadcastChannel | null} */
  #channel = null;
  #openDoor;
  #release = () => {};
  #hide = () => this.close(NORMAL, "The page goes.");
  #resume = () => this.#stand();

  /**
   * @param {string} url
   * @param {TransportEvents} events
   * @param {Record<string, any>} environment
   * @param {Record<string, any>} options As those of `Connection`.
   * @param {(environment: Record<string, any>) => SharedDoor} openDoor What the tab that leads lets
   *   the others in by.
   */
  constructor(url, events, environment, options, openDoor) {
    this.#events = events;
    this.#openDoor = openDoor;
    this.#candidate = environment;
    this.#environment = {
      BroadcastChannel: globalThis.BroadcastChannel,
      locks: globalThis.navigator?.locks,
      crypto: globalThis.crypto,
      ...environment,
    };
    this.#options = options;
    const { user, timeout, heartbeat, transports } = options;
    this.#introduction = { url, options: { user, timeout, heartbeat, transports } };
    this.#environment.window?.addEventListener("pagehide", this.#hide);
    this.#environment.document?.addEventListener("resume", this.#resume);
    // A browser may refuse locks, for example to a frame in a sandbox.
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
      throw new Error("Tabs cannot share a connection here."); // and not before the caller knows us
    }
    this.#name = name;
    // While this lock is held, the hub knows that the tab is there.
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

  /** Stand in line for the lead, once for each connection of the page. */
  #stand() {
    const candidate = this.#candidate;
    const name = this.#name;
    if (name && candidates.get(candidate) !== name) {
      candidates.set(candidate, name);
      lead(name, this.#environment, this.#openDoor)
        .catch(() => {}) // withdrawn, or refused
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
   * Take in what is said among the tabs.
   *
   * @param {Record<string, any>} message
   */
  #hear({ to, hub, ...message }) {
    if (to === this.#id) {
      this.#hub = hub;
      this.#take(message);
    } else if (to === "all" && !this.#hub) {
      this.#join(); // nobody has listened to the first time
    } else if (to === "all" && hub !== this.#hub) {
      this.#end(LOST, "Another tab has taken over.");
    }
  }

  /**
   * Take in what the hub says.
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
 * Stand in line for the lead, and then be the tab that holds the connection for all; until the page
 * is left or frozen, which others must not wait for.
 */
async function lead(name, environment, openDoor) {
  const { locks, window, document } = environment;
  const given = new AbortController();
  const giveUp = () => given.abort();
  window?.addEventListener("pagehide", giveUp);
  document?.addEventListener("freeze", giveUp);
  try {
    await locks.request(name, { signal: given.signal }, () => serve(name, environment, openDoor, given.signal));
  } finally {
    window?.removeEventListener("pagehide", giveUp);
    document?.removeEventListener("freeze", giveUp);
  }
}

/** Be the hub of the tabs until the signal comes. */
function serve(name, environment, openDoor, signal) {
  return new Promise((resolve) => {
    const channel = new environment.BroadcastChannel(name);
    const hub = someId();
    const door = openDoor(environment);
    channel.onmessage = ({ data: { to, tab, ...message } }) => {
      if (to === undefined) {
        door.receive(tab, message, (answer) => channel.postMessage({ ...answer, to: tab, hub }));
      }
    };
    channel.postMessage({ to: "all", hub });
    signal.addEventListener("abort", () => {
      door.close();
      channel.close();
      resolve(undefined);
    });
  });
}

/**
 * Name the group of tabs that are provably the same user, so that none is ever taken for another:
 * they say the same of who they are. The name that the site printed is checked by the server, a
 * token speaks for itself; of a function nobody knows what it will say.
 *
 * @param {string} url
 * @param {Record<string, any>} options
 * @param {{ subtle: any }} crypto
 * @returns {Promise<string | undefined>} Nothing where that cannot be known.
 */
async function group(url, { user, token, cookieString, payload }, crypto) {
  if (typeof token === "function" || (user === undefined && !token)) {
    return undefined;
  }
  const text = JSON.stringify([url, user, token, cookieString, payload]);
  // A token is a secret, and names of locks are no place for one.
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  return `djhookbox ${[...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

function someId() {
  return `djhookbox ${Date.now()} ${Math.random()}`;
}
