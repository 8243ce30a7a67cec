/** The script of the admin's server page. Without it, the page shows the state when it was loaded. */

// Imported by path: the admin pages have no import map, because that is an inline script.
import { connect } from "../hookbox.js";
import { LivePage } from "./live_page.js";

const settings = JSON.parse(document.getElementById("hookbox-live-settings").textContent);
new LivePage(document, settings, connect).start();
