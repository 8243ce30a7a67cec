/** @import { SharedHub } from "./shared_hub.js" */

/** Admits tabs to the hub, and notices when a tab is gone, because it no longer holds its lock. */
export class SharedTabs {
  /** @type {Map<string, { receive: (text: string) => void, leave: () => void }>} */
  #tabs = new Map();
  #hub;
  #environment;

  /**
   * @param {Record<string, any>} environment Its `locks` are used.
   * @param {SharedHub} hub
   */
  constructor(environment, hub) {
    this.#environment = environment;
    this.#hub = hub;
  }

  /**
   * Handle a message from a tab.
   *
   * @param {string} id The id of the tab.
   * @param {{ join?: any, text?: string, leave?: boolean }} message
   * @param {(answer: Record<string, any>) => void} post
   */
  receive(id, { join, text, leave }, post) {
    if (join && !this.#tabs.has(id)) {
      const answer = (message) => {
        if (message.closed) {
          this.#tabs.delete(id);
        }
        post(message);
      };
      this.#tabs.set(id, this.#hub.join(answer, join.url, join.options));
      this.#environment.locks.request(id, () => this.#gone(id));
      post({ joined: true });
    } else if (text !== undefined) {
      this.#tabs.get(id)?.receive(text);
    } else if (leave) {
      this.#gone(id);
    }
  }

  /** Disconnect all tabs; they will join the hub of another tab. */
  close() {
    this.#tabs.clear();
    this.#hub.close();
  }

  /** @param {string} id */
  #gone(id) {
    const tab = this.#tabs.get(id);
    this.#tabs.delete(id);
    tab?.leave();
  }
}
