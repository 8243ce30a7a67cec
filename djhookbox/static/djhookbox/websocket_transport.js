/**
 * What a connection needs of a transport; `options.transport` may name another class of this shape.
 *
 * @typedef {object} Transport
 * @property {(text: string) => void} send
 * @property {(code: number, reason: string) => void} close
 */

/**
 * What a transport tells its connection.
 *
 * @typedef {object} TransportEvents
 * @property {() => void} onOpen
 * @property {(text: string) => void} onText
 * @property {(code: number, reason: string) => void} onClose Called once, whatever ended it.
 */

/** Carries text over one WebSocket, from its opening to its end. */
export class WebSocketTransport {
  #socket;
  #ended = false;
  #events;

  /**
   * @param {string} url Where the server's `/ws` and `/csp` are found, as ws: or wss:.
   * @param {TransportEvents} events
   * @param {{ WebSocket?: any }} environment
   */
  constructor(url, events, environment) {
    this.#events = events;
    this.#socket = new environment.WebSocket(`${url}/ws`);
    this.#socket.onopen = () => this.#ended || events.onOpen();
    this.#socket.onmessage = (event) => this.#ended || events.onText(String(event.data));
    this.#socket.onclose = (event) => this.#end(event.code, String(event.reason));
    // onclose always follows and knows more.
    this.#socket.onerror = () => {};
  }

  /** @param {string} text */
  send(text) {
    this.#socket.send(text);
  }

  /**
   * End the connection at once: a dead network would keep a closing handshake waiting for minutes.
   *
   * @param {number} code
   * @param {string} reason
   */
  close(code, reason) {
    // Browsers take few codes and short reasons only, and the server needs neither.
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
