import { connect } from "djhookbox";
import { showStatus } from "./status.js";

// {% hookbox_refresh %} fetches the list; this only shows whether it can.
showStatus(connect(), document.getElementById("status"));
