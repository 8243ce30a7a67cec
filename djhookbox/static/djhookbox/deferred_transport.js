import { LOST } from "./close_codes.js";

/** @import { Transport, TransportEvents } from "./websocket_transport.js" */

/**
 * A transport whose code must be loaded before it can open.
 *
 * @implements {Transport}
 */
export class DeferredTransport {
  /** @type {Transport | null} */
  #transport = null;
  #ended = false;
  #events;

  /**
   * @param {() => Promise<(events: any) => Transport>} load Loads the code; resolves to a function that opens the transport.
   * @param {TransportEvents} events
   */
  constructor(load, events) {
    this.#events = events;
    load()
      .then((open) => {
        if (!this.#ended) {
          this.#transport = open(events);
        }
      })
      .catch((error) => this.close(LOST, String(error)));
  }

  /** @param {string} text */
  send(text) {
    this.#transport.send(text);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  close(code, reason) {
    if (this.#transport) {
      this.#transport.close(code, reason);
    } else if (!this.#ended) {
      this.#ended = true;
      this.#events.onClose(code, reason);
    }
  }
}
