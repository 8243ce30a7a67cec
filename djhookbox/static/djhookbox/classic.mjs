/** What `hookbox` is on a page that loads the client as a classic script: today's names and 2011's. */

export { Connection, HookboxError, SessionEnded, Subscription } from "./hookbox.js";
export { connect, logging } from "./legacy.js";
