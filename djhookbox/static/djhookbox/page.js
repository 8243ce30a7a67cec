/** The id of the element with the configuration from the template tag. */
export const CONFIG_ID = "djhookbox-config";

/** The default port of the process. */
const DEFAULT_PORT = 8001;

/** The elements with configurations, oldest first. */
let known = [];

/** Return the newest configuration: htmx inserts the new page before it removes the old one. */
function newest(document) {
  const present = [...(document?.querySelectorAll(`#${CONFIG_ID}`) ?? [])];
  known = [...new Set([...known, ...present])].filter((one) => present.includes(one));
  return known.at(-1);
}

newest(globalThis.document);

/**
 * Read the configuration that `{% hookbox_script %}` printed; without it, return an empty object.
 *
 * @param {Document | undefined} document
 * @returns {{ url?: string, port?: number, token?: string, user?: string, hint?: string }}
 */
export function pageConfig(document) {
  const element = newest(document);
  return element ? JSON.parse(element.textContent) : {};
}

/**
 * Return the address of the Hookbox process, as ws: or wss: and without a trailing slash.
 *
 * Cookies belong to a host name, not to a port. Without a `url`, this uses the page's host name, so
 * that a page at `localhost` never connects to `127.0.0.1`, where it would have no session.
 *
 * @param {{ url?: string, port?: number }} config
 * @param {Location | undefined} location The page's.
 * @returns {string}
 */
export function serverAddress(config, location) {
  if (config.url) {
    return config.url.replace(/^http(s?):/i, "ws$1:").replace(/\/+$/, "");
  }
  if (!location) {
    throw new TypeError("Outside a page, connect() needs a url.");
  }
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.hostname}:${config.port ?? DEFAULT_PORT}`;
}
