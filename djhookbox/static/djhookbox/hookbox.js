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
import { openConnection } from "./page.js";
import { Subscription } from "./subscription.js";

/** @import { Options } from "./page.js" */

export { Connection, HookboxError, SessionEnded, Subscription };

/**
 * Connect this page to the Hookbox process. A page has one connection for the same options: called
 * again, also by a script that htmx or Turbo run again, this returns it.
 *
 * @param {string | Options} [options] An address as in 2011 (`http://localhost:8001`), or options;
 *   what is not given is what `{% hookbox_script %}` printed.
 * @returns {Connection}
 */
export function connect(options = {}) {
  return openConnection(typeof options === "string" ? { url: options } : options, true);
}
