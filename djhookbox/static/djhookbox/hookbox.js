/**
 * The browser client of django-hookbox.
 *
 *     import { connect } from "djhookbox";
 *
 *     const hookbox = connect();
 *     const room = hookbox.subscribe("/rooms/1/");
 *     room.on("publish", ({ user, payload }) => console.log(user, payload));
 *     await room.publish({ text: "Hello" });
 */

import { Connection } from "./connection.js";
import { HookboxError, SessionEnded } from "./errors.js";
import { pageConfig, serverAddress } from "./page.js";
import { Subscription } from "./subscription.js";

/** @import { ConnectionOptions } from "./connection.js" */

export { Connection, HookboxError, SessionEnded, Subscription };

/** The document's property for its connections, which remain when scripts run again. */
const KEPT = Symbol.for("djhookbox");

/**
 * @typedef {ConnectionOptions & { url?: string, port?: number }} Options
 */

/**
 * Connect this page to the Hookbox process. A page has one connection for the same options: later
 * calls return it, even in scripts that htmx or Turbo run again.
 *
 * @param {string | Options} [options] An address as in 2011 (`http://localhost:8001`), or options.
 *   The defaults are those that `{% hookbox_script %}` printed.
 * @returns {Connection}
 */
export function connect(options = {}) {
  const given = typeof options === "string" ? { url: options } : options;
  const { document = globalThis.document, location = globalThis.location } = given.environment ?? {};
  const config = { ...pageConfig(document), ...given };
  const url = serverAddress(config, location);
  // Pages of 2011 get a connection for each call. Without a document, connections are not kept.
  const kept = given.perConnection === false || !document ? new Map() : (document[KEPT] ??= new Map());
  // These options do not identify a connection.
  const said = { ...given, environment: undefined, logger: undefined };
  const key = JSON.stringify(said, (_, value) => (typeof value === "function" ? String(value) : value));
  // A page that was rendered for another user or another server gets another connection.
  const page = `${url} ${config.user}`;
  const known = kept.get(key);
  if (known?.page === page) {
    known.connection.renew(config);
    return known.connection.connect();
  }
  known?.connection.disconnect();
  const connection = new Connection(url, config);
  kept.set(key, { page, connection });
  return connection.connect();
}
