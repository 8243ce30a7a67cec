/** Where the README explains the codes. */
const HELP = "https://pypi.org/project/django-hookbox/#error-codes";

/** Refusals that are about the moment, not about the user: worth asking again. */
export const PASSING = new Set(["unavailable", "limit", "error"]);

/** Something that the server, or the client in its place, could not or would not do. */
export class HookboxError extends Error {
  /**
   * @param {string} message A plain sentence, fit to be shown.
   * @param {string} [code] A short word to decide by: what the server sends (`refused`,
   *   `session_expired`, `unavailable`, `malformed`, `not_connected`, `limit`, `error`), or the
   *   client's own `timeout`, `connection_lost`, `offline` and `closed`.
   * @param {object} [frame] The arguments of the ERROR frame that told it.
   */
  constructor(message, code = "error", frame = undefined) {
    super(message, { cause: frame });
    this.name = "HookboxError";
    this.code = code;
    /** Where the code is explained. */
    this.help = HELP;
  }
}

/**
 * What a `token` function throws to say that there will be no more token: the client then stays
 * away, and tells the page by `sessionended`, instead of asking again.
 */
export class SessionEnded extends HookboxError {
  /** @param {string} [message] */
  constructor(message = "The session has ended.") {
    super(message, "session_expired");
    this.name = "SessionEnded";
  }
}

/** What there is to say where there will be no connection. */
export const closed = () => new HookboxError("The connection is closed.", "closed");

/**
 * Read an ERROR frame.
 *
 * @param {Record<string, any>} args
 * @returns {HookboxError}
 */
export function errorOf(args) {
  return new HookboxError(String(args.msg), args.code ?? "refused", args);
}
