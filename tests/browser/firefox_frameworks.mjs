/**
 * The examples with frameworks in Firefox; test_firefox.py makes their pages.
 *
 * Tells the address of each page that works.
 */

import assert from "node:assert/strict";

export default async function run(browser, { site, timeout, channel, components, exchanged, refreshed }, tell) {
  const page = await (await browser.createBrowserContext()).newPage();
  page.setDefaultTimeout(timeout);
  await page.goto(`${site}/login/`);
  await page.type("[name=username]", "alice");
  await page.type("[name=password]", "alice");
  await Promise.all([page.waitForNavigation(), page.click("form:has([name=password]) button")]);
  await page.evaluateOnNewDocument(() => {
    window.opened = 0;
    const Genuine = window.WebSocket;
    window.WebSocket = class extends Genuine {
      constructor(...args) {
        super(...args);
        opened += 1;
      }
    };
  });

  /** Publish a text when the page is subscribed, and wait until it is shown so many times. */
  async function say(text, parts) {
    const inside = (name) => window.connect?.().getSubscription(name)?.status === "subscribed";
    await page.waitForFunction(inside, {}, channel);
    await page.evaluate((name, payload) => connect().publish(name, payload), channel, text);
    const shown = (count) => document.querySelectorAll("li").length >= count;
    await page.waitForFunction(shown, {}, parts);
    // What is delivered twice would have arrived before the answer to one more message.
    await page.evaluate(() => connect().publish("/chat/elsewhere/", 1));
    const texts = await page.evaluate(() => [...document.querySelectorAll("li")].map((one) => one.textContent));
    assert.deepEqual(texts, Array(parts).fill(text));
  }

  /** Wait until the page has left the channel, acting again and again. */
  async function leave(action) {
    const left = (name, code) => (0, eval)(code) || connect().getSubscription(name) === undefined;
    await page.waitForFunction(left, { polling: 100 }, channel, `{ ${action}; undefined }`);
    assert.equal(await page.evaluate(() => opened), 1);
  }

  for (const [address, { parts, remove }] of Object.entries(components)) {
    await page.goto(address);
    await say("from Firefox", parts);
    await leave(remove);
    tell(address);
  }
  for (const address of exchanged) {
    await page.goto(`${address}one/`);
    const visit = async (name) => {
      await page.locator(`a[href$="/${name}/"]`).click();
      // Not yet the page that Turbo shows from its cache at first.
      const title = (text) => document.querySelector("html:not([aria-busy]) h1")?.textContent === text;
      await page.waitForFunction(title, {}, name);
    };
    for (const name of ["two", "one", "two", "one"]) {
      await visit(name);
      await say(`on ${name}`, 1);
    }
    await visit("three");
    await leave("");
    tell(address);
  }
  // {% hookbox_refresh %}: htmx fetches the list once it is subscribed, and at each message.
  await page.goto(refreshed);
  const shown = () => document.querySelector("#tasks li")?.textContent === "Fetched";
  await page.waitForFunction(shown);
  const fetched = () => performance.getEntriesByType("resource").filter(({ name }) => name.endsWith("/list/")).length;
  const before = await page.evaluate(fetched);
  await page.evaluate(() => (document.querySelector("#tasks").innerHTML = ""));
  await page.evaluate((name) => connect().publish(name, 1), channel);
  await page.waitForFunction(shown);
  assert.equal(await page.evaluate(fetched), before + 1);
  tell(refreshed);
}
