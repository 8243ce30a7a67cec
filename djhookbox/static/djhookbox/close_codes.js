/** Close codes that the client handles individually; ranges determine all others. */
export const NORMAL = 1000;
export const GOING_AWAY = 1001;
export const LOST = 1006;

/** Never sent: another tab has taken over the shared connection; reconnect to it immediately. */
export const HANDED_ON = 0;
export const SESSION_CHANGED = 4000;
export const ACCOUNT_GONE = 4501;

/**
 * Return whether the client reconnects after its connection was closed with `code`.
 *
 * 4500–4999 mean that it must stay disconnected. Everything else is an interruption, including
 * abnormal ends (1006) and restarts (1012).
 *
 * @param {number} code
 * @returns {boolean}
 */
export function comesBack(code) {
  return !(code >= 4500 && code <= 4999);
}

/**
 * Return whether a connection that ended with `code` was cut by the network rather than closed by
 * the server (1012 restarting, 1013 full) or the site (4000–4999).
 *
 * @param {number} code
 * @returns {boolean}
 */
export function breaksOff(code) {
  return code < 4000 && ![NORMAL, 1012, 1013].includes(code);
}
