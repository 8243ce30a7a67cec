/**
 * Opens pages in Firefox and tells what became of them:
 *
 *     node firefox_pages.mjs <firefox> <address>…
 *
 * Prints a line of JSON for each: its title after a while, and what its console said.
 */

import puppeteer from "puppeteer-core";

const [executablePath, ...addresses] = process.argv.slice(2);
const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true });
try {
  for (const address of addresses) {
    const page = await browser.newPage();
    const said = [];
    page.on("console", (message) => said.push(message.text()));
    await page.goto(address);
    for (let look = 0; look < 40 && (await page.title()) !== "waiting"; look += 1) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      if (said.some((text) => text.includes("import map"))) {
        break;
      }
    }
    console.log(JSON.stringify({ title: await page.title(), said }));
    await page.close();
  }
} finally {
  await browser.close();
}
