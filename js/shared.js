/** Everything that a tab needs to share its connection with other tabs, in one file. */

export { SharedTabs } from "../djhookbox/static/djhookbox/shared_tabs.js";
export { SharedHub } from "../djhookbox/static/djhookbox/shared_hub.js";
export { SharedTransport } from "../djhookbox/static/djhookbox/shared_transport.js";
