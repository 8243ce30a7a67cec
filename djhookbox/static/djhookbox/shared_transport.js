import { LOST, NORMAL } from "./close_codes.js";

/**
 * @import { SharedDoor } from "./shared_door.js"
 * @import { TransportEvents } from "./websocket_transport.js"
 */

/** Those that lead, or stand in line for it. @type {WeakSet<object>} */
const candidates = new WeakSet();

/**
 * Carries text to the hub that holds the one connection of all tabs. It is in the tab that has a
 * certain lock of the browser; when that one closes, the next in line takes over.
 */
export class SharedTransport {
  #events;
  #environment;
  #candidate;
  #name;
  #options;
  #id = someId();
  #ended = false;
  /** Which hub has taken us in. */
  #hub = "";
  /** @type {BroadcastChannel | null} */
  #channel = null;
  #openDoor;
  #release = () => {};
  #hide = () => this.close(NORMAL, "The page goes.");

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
      ...environment,
    };
    this.#name = `djhookbox ${url} ${options.user ?? ""}`;
    const { timeout, heartbeat, transports } = options;
    this.#options = { url, options: { timeout, heartbeat, transports } };
    this.#environment.window?.addEventListener("pagehide", this.#hide);
    this.#begin();
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

  #begin() {
    const { locks, BroadcastChannel } = this.#environment;
    if (!locks || !BroadcastChannel) {
      // Not before the caller knows this transport.
      queueMicrotask(() => this.#end(LOST, "Tabs cannot share a connection here."));
      return;
    }
    // While this lock is held, the hub knows that the tab is there.
    const held = locks.request(this.#id, () => {
      if (this.#ended) {
        return undefined;
      }
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.onmessage = ({ data }) => this.#hear(data);
      this.#join();
      this.#stand();
      return new Promise((resolve) => {
        this.#release = () => resolve(undefined);
      });
    });
    // A browser may refuse locks, for example to a frame in a sandbox.
    held.catch((error) => this.#end(LOST, String(error)));
  }

  /** Stand in line for the lead, once for each connection of the page. */
  #stand() {
    const candidate = this.#candidate;
    if (!candidates.has(candidate)) {
      candidates.add(candidate);
      this.#environment.locks
        .request(this.#name, () => lead(this.#name, this.#environment, this.#openDoor(this.#environment)))
        .catch(() => candidates.delete(candidate));
    }
  }

  /** @param {Record<string, any>} message */
  #post(message) {
    this.#channel?.postMessage({ ...message, tab: this.#id });
  }

  #join() {
    this.#post({ join: this.#options });
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
      this.#channel?.close();
      this.#release();
      this.#events.onClose(code, reason);
    }
  }
}

/** Be the tab that holds the connection for all, until the page goes. */
async function lead(name, environment, door) {
  const channel = new environment.BroadcastChannel(name);
  const hub = someId();
  channel.onmessage = ({ data: { to, tab, ...message } }) => {
    if (to === undefined) {
      door.receive(tab, message, (answer) => channel.postMessage({ ...answer, to: tab, hub }));
    }
  };
  channel.postMessage({ to: "all", hub });
  await new Promise(() => {});
}

function someId() {
  return `djhookbox ${Date.now()} ${Math.random()}`;
}
