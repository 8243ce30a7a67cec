/** The exports of `hookbox` on pages that load the client as a classic script: current names and those of 2011. */

export { Connection, HookboxError, SessionEnded, Subscription } from "./hookbox.js";
export { connect, logging } from "./legacy.js";
