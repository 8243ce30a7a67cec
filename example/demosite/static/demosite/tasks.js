import { connect } from "djhookbox";
import { showStatus } from "./status.js";

const list = document.getElementById("tasks");
const hookbox = connect();
const channel = hookbox.subscribe(list.dataset.channel);
showStatus(hookbox, document.getElementById("status"));

// What was missed meanwhile comes as well; if it is no longer there, `gap` says so.
for (const event of ["publish", "gap"]) {
  channel.on(event, () => htmx.trigger(list, "changed"));
}
