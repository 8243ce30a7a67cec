/**
 * Firefox, which Playwright cannot drive as Debian ships it, for the tests of test_firefox.py:
 *
 *     node firefox.mjs <firefox>
 *
 * Each line of its input is JSON: the name of a script beside this one, and what to call its
 * function with, after the browser and the function to tell what it has done. The answer is a line
 * of JSON: what was told, and the error that ended it, or null. WebDriver BiDi by puppeteer-core.
 */

import { createInterface } from "node:readline";
import puppeteer from "puppeteer-core";

const [executablePath] = process.argv.slice(2);
// Drawing less often is a sixth less work.
const extraPrefsFirefox = { "layout.frame_rate": 10, "ui.prefersReducedMotion": 1 };
const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true, extraPrefsFirefox });
try {
  for await (const line of createInterface({ input: process.stdin })) {
    const [script, plan] = JSON.parse(line);
    const told = [];
    let failure = null;
    try {
      const { default: run } = await import(new URL(script, import.meta.url));
      await run(browser, plan, (what) => told.push(what));
    } catch (error) {
      failure = error.stack;
    }
    for (const context of browser.browserContexts()) {
      if (context !== browser.defaultBrowserContext()) {
        await context.close();
      }
    }
    console.log(JSON.stringify([told, failure]));
  }
} finally {
  await browser.close();
}
