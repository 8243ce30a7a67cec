/**
 * The interface of transports. `options.transport` can be another class with this interface.
 *
 * @typedef {object} Transport
 * @property {(text: string) => void} send
 * @property {(code: number, reason: string) => void} close
 */

/**
 * The callbacks of a transport.
 *
 * @typedef {object} TransportEvents
 * @property {() => void} onOpen
 * @property {(text: string) => void} onText
 * @property {(code: number, reason: string) => void} onClose Called once, whatever the cause.
 */

/** Transports text over one WebSocket. */
export class WebSocketTransport {
  #socket;
  #ended = false;
  #events;

  /**
   * @param {string} url The address of the server, without `/ws`, as ws: or wss:.
   * @param {TransportEvents} events
   * @param {{ WebSocket?: any }} environment
   */
  constructor(url, events, environment) {
    this.#events = events;
    this.#socket = new environment.WebSocket(`${url}/ws`);
    this.#socket.onopen = () => this.#ended || events.onOpen();
    this.#socket.onmessage = (event) => this.#ended || events.onText(String(event.data));
    this.#socket.onclose = (event) => this.#end(event.code, String(event.reason));
    // onclose always follows and contains more information.
    this.#socket.onerror = () => {};
  }

  /** @param {string} text */
  send(text) {
    this.#socket.send(text);
  }

  /**
   * End the connection immediately: without a network, the closing handshake would take minutes.
   *
   * @param {number} code
   * @param {string} reason
   */
  close(code, reason) {
    // Browsers accept only a few codes and short reasons, and the server needs neither.
    this.#socket.close(code < 3000 ? 1000 : code);
    this.#end(code, reason);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #end(code, reason) {
    if (!this.#ended) {
      this.#ended = true;
      this.#events.onClose(code, reason);
    }
  }
}
