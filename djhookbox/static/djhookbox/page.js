/** Where the template tag leaves the configuration. */
export const CONFIG_ID = "djhookbox-config";

/** The port of the process where nothing says otherwise. */
const DEFAULT_PORT = 8001;

/**
 * Read what `{% hookbox_script %}` printed; an empty object where it was not used. After htmx or
 * Turbo have changed the page there may be several, of which the last is the newest.
 * *
 * @param {Document | undefined} document
 * @returns {{ url?: string, port?: number, token?: string, user?: string, hint?: string }}
 */
export function pageConfig(document) {
  const element = [...(document?.querySelectorAll(`#${CONFIG_ID}`) ?? [])].at(-1);
  return element ? JSON.parse(element.textContent) : {};
}

/**
 * Work out the address of the Hookbox process, as ws: or wss: and without a slash at the end.
 *
 * Cookies belong to a host name, not to a port: without a `url` it is the page's own host name,
 * so that a page at `localhost` never connects to `127.0.0.1` and loses its session on the way.
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
    throw new TypeError("Outside of a page connect() needs a url.");
  }
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  return `${scheme}//${location.hostname}:${config.port ?? DEFAULT_PORT}`;
}
