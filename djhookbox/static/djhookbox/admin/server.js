/** The script of the admin's server page. Without it the page is as it was when it was loaded. */

// By its path: the admin's pages have no import map, which is an inline script.
import { connect } from "../hookbox.js";
import { LivePage } from "./live_page.js";

const settings = JSON.parse(document.getElementById("hookbox-live-settings").textContent);
new LivePage(document, settings, connect).start();
