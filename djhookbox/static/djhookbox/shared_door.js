/** @import { SharedHub } from "./shared_hub.js" */

/** Lets tabs in to the hub, and notices when one has gone without a word: its lock is free then. */
export class SharedDoor {
  /** @type {Map<string, { receive: (text: string) => void, leave: () => void }>} */
  #tabs = new Map();
  #hub;
  #environment;

  /**
   * @param {Record<string, any>} environment With the `locks` of the browser.
   * @param {SharedHub} hub
   */
  constructor(environment, hub) {
    this.#environment = environment;
    this.#hub = hub;
  }

  /**
   * Take in what a tab says.
   *
   * @param {string} id The tab's.
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

  /** Send all tabs away: they meet again where another one leads. */
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
