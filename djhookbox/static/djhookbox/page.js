import { Connection } from "./connection.js";

/**
 * @import { ConnectionOptions } from "./connection.js"
 * @typedef {ConnectionOptions & { url?: string, port?: number }} Options
 */

/** Where the template tag leaves the configuration. */
export const CONFIG_ID = "djhookbox-config";

/** The port of the process where nothing says otherwise. */
const DEFAULT_PORT = 8001;

/** Under this name the document keeps its connections: it outlives scripts that are run again. */
const KEPT = Symbol.for("djhookbox");

/** What says nothing about which connection is meant. */
const ASIDE = new Set(["environment", "logger"]);

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

/**
 * Make a connection for these options, and what the template tag printed for those not given.
 *
 * @param {Options} given
 * @param {boolean} [shared] Whether the page's connection is meant, if it has such a one.
 * @returns {Connection}
 */
export function openConnection(given, shared = false) {
  const { document = globalThis.document, location = globalThis.location } = given.environment ?? {};
  const options = { ...pageConfig(document), ...given };
  const url = serverAddress(options, location);
  const make = () => new Connection(url, options);
  if (!shared || !document) {
    return make().connect();
  }
  const kept = (document[KEPT] ??= new Map());
  const key = JSON.stringify(given, (name, value) =>
    ASIDE.has(name) ? undefined : typeof value === "function" ? String(value) : value,
  );
  // A page that has been made for another user, or another server, has another connection.
  const page = `${url} ${options.user}`;
  const known = kept.get(key);
  if (known?.page === page) {
    known.connection.renew(options);
    return known.connection.connect();
  }
  known?.connection.disconnect();
  const connection = make();
  kept.set(key, { page, connection });
  return connection.connect();
}
