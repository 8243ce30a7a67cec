/** Close codes that the client treats by themselves; ranges decide about all others. */
export const NORMAL = 1000;
export const GOING_AWAY = 1001;
export const LOST = 1006;
export const SESSION_CHANGED = 4000;
export const ACCOUNT_GONE = 4501;

/**
 * Tell whether a page comes back after its connection was closed with `code`.
 *
 * 4500–4999 is the site's word to stay away. Anything else, an abnormal end (1006) and a restart
 * (1012) among them, is an interruption.
 *
 * @param {number} code
 * @returns {boolean}
 */
export function comesBack(code) {
  return !(code >= 4500 && code <= 4999);
}

/**
 * Tell whether a connection that ended with `code` was cut on its way rather than closed by the
 * server: 1012 and 1013 are a server's that restarts or is full, 4000–4999 a site's.
 *
 * @param {number} code
 * @returns {boolean}
 */
export function breaksOff(code) {
  return code < 4000 && ![NORMAL, 1012, 1013].includes(code);
}
