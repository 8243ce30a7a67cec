import { connect } from "djhookbox";
import { showStatus } from "./status.js";

const list = document.getElementById("tasks");
const hookbox = connect();
const channel = hookbox.subscribe(list.dataset.channel);
showStatus(hookbox, document.getElementById("status"));

// After an interruption, missed messages arrive too, or `gap` reports that some are lost.
for (const event of ["publish", "gap"]) {
  channel.on(event, () => htmx.trigger(list, "changed"));
}
