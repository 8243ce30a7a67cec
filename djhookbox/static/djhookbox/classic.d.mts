// What `hookbox` is on a page that loads `hookbox.classic.js`, for those who import it.

export { Connection, HookboxError, SessionEnded, Subscription } from "./hookbox.js";
export { connect, logging } from "./legacy.js";
export type { ErrorFrame, LegacyConnection, LegacySubscription, PublishFrame } from "./legacy.js";
