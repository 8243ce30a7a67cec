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

/** Under this name the document keeps its connections: it outlives scripts that are run again. */
const KEPT = Symbol.for("djhookbox");

/**
 * @typedef {ConnectionOptions & { url?: string, port?: number }} Options
 */

/**
 * Connect this page to the Hookbox process. A page has one connection for the same options: called
 * again, also by a script that htmx or Turbo run again, this returns it.
 *
 * @param {string | Options} [options] An address as in 2011 (`http://localhost:8001`), or options;
 *   what is not given is what `{% hookbox_script %}` printed.
 * @returns {Connection}
 */
export function connect(options = {}) {
  const given = typeof options === "string" ? { url: options } : options;
  const { document = globalThis.document, location = globalThis.location } = given.environment ?? {};
  const config = { ...pageConfig(document), ...given };
  const url = serverAddress(config, location);
  // A page of 2011 has as many as it asks for, and what outlives no page is kept nowhere.
  const kept = given.perConnection === false || !document ? new Map() : (document[KEPT] ??= new Map());
  // Neither says anything about which connection is meant.
  const said = { ...given, environment: undefined, logger: undefined };
  const key = JSON.stringify(said, (_, value) => (typeof value === "function" ? String(value) : value));
  // A page that has been made for another user, or another server, has another connection.
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
