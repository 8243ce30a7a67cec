import { connect } from "djhookbox";
import { showStatus } from "./status.js";

const list = document.getElementById("orders");
const hookbox = connect();
showStatus(hookbox, document.getElementById("status"));

/** Show an order as it is now. */
function show({ pk, fields }) {
  let row = document.getElementById(`order-${pk}`);
  if (!row) {
    row = document.getElementById("order").content.firstElementChild.cloneNode(true);
    row.id = `order-${pk}`;
    row.querySelector("button").value = pk;
    list.prepend(row);
  }
  row.querySelector(".what").textContent = fields.what;
  row.querySelector(".step").textContent = fields.step;
  row.querySelector("button").hidden = fields.step === "delivered";
}

// The view got a cursor before it read the orders, so each later change arrives exactly once.
const channel = hookbox.subscribe(list.dataset.channel);
channel.on("publish", ({ payload }) => show(payload));
channel.on("gap", () => location.reload());
