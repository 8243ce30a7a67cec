// What `hookbox` is on a page that loads `hookbox.classic.js`, for those who import it.

export { Connection, HookboxError, SessionEnded, Subscription } from "./hookbox.cjs";
export { connect, logging } from "./legacy.cjs";
export type { ErrorFrame, LegacyConnection, LegacySubscription, PublishFrame } from "./legacy.cjs";
