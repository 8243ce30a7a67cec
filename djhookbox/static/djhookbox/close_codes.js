/** Close codes that the client treats by themselves; ranges decide about all others. */
export const NORMAL = 1000;
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
