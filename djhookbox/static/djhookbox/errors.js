/** The page of the documentation that explains the codes; each has an anchor. */
const HELP = "https://django-hookbox.readthedocs.io/page/reference/errors.html#errorcode-";

/** Codes of temporary failures, after which a request can be retried. */
export const PASSING = new Set(["unavailable", "limit", "error"]);

/** A request that the server refused, or that failed. */
export class HookboxError extends Error {
  /**
   * @param {string} message A sentence that can be shown to the user.
   * @param {string} [code] From the server: `refused`, `session_expired`, `unavailable`,
   *   `malformed`, `not_connected`, `limit` or `error`. From the client: `timeout`,
   *   `connection_lost`, `offline` or `closed`.
   * @param {object} [frame] The arguments of the ERROR frame.
   */
  constructor(message, code = "error", frame = undefined) {
    super(message, { cause: frame });
    this.name = "HookboxError";
    this.code = code;
    /** The address of the explanation of the code. */
    this.help = HELP + code;
  }
}

/**
 * Throw this in a `token` function if no more tokens are available. The client then stays
 * disconnected and emits `sessionended` instead of calling the function again.
 */
export class SessionEnded extends HookboxError {
  /** @param {string} [message] */
  constructor(message = "The session has ended.") {
    super(message, "session_expired");
    this.name = "SessionEnded";
  }
}

/** Create the error for requests after the connection was closed for good. */
export const closed = () => new HookboxError("The connection is closed.", "closed");

/**
 * Create the error for an ERROR frame.
 *
 * @param {Record<string, any>} args
 * @returns {HookboxError}
 */
export function errorOf(args) {
  return new HookboxError(String(args.msg), args.code ?? "refused", args);
}
