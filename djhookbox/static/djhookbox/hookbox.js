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

/**
 * @typedef {ConnectionOptions & { url?: string, port?: number }} Options
 */

/**
 * Connect this page to the Hookbox process.
 *
 * @param {string | Options} [options] An address as in 2011 (`http://localhost:8001`), or options;
 *   what is not given is what `{% hookbox_script %}` printed.
 * @returns {Connection}
 */
export function connect(options = {}) {
  const given = typeof options === "string" ? { url: options } : options;
  const environment = given.environment ?? {};
  const document = environment.document ?? globalThis.document;
  const location = environment.location ?? globalThis.location;
  const config = { ...pageConfig(document), ...given };
  return new Connection(serverAddress(config, location), config).connect();
}
