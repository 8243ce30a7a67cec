/** Something that the server, or the client in its place, could not or would not do. */
export class HookboxError extends Error {
  /**
   * @param {string} message A plain sentence, fit to be shown.
   * @param {string} [code] A short word to decide by: what the server sends (`refused`,
   *   `session_expired`, `unavailable`, `malformed`, `not_connected`, `limit`, `error`), or the
   *   client's own `timeout`, `connection_lost` and `closed`.
   */
  constructor(message, code = "error") {
    super(message);
    this.name = "HookboxError";
    this.code = code;
  }
}
