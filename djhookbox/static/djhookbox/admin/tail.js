/** The script of a channel's page. Without it, the page shows the messages when it was loaded. */

import { TailPage } from "./tail_page.js";

const settings = document.getElementById("hookbox-tail-settings");
if (settings) {
  new TailPage(document, JSON.parse(settings.textContent)).start();
}
