/** The main journeys of the client in Firefox, and situations.js; test_firefox.py looks for them. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

const situations = await readFile(new URL("situations.js", import.meta.url), "utf8");

/** A page of the site, signed in, in a session of its own. */
async function enter(browser, { site, timeout }, user) {
  const context = await browser.createBrowserContext();
  const page = await context.newPage();
  page.setDefaultTimeout(timeout);
  await page.goto(`${site}/login/`);
  await page.type("[name=username]", user);
  await page.type("[name=password]", user);
  await Promise.all([page.waitForNavigation(), page.click("form:has([name=password]) button")]);
  await page.goto(`${site}/chat/lobby/`);
  return page;
}

/** What a page's author would write; `heard` is for the test. */
function start(page, channel, options) {
  return page.evaluate(
    async (name, given) => {
      const { connect } = await import("djhookbox");
      window.heard = [];
      window.hookbox = connect(given);
      window.room = hookbox.subscribe(name);
      room.on("publish", ({ payload }) => heard.push(payload));
      room.on("gap", () => heard.push("gap"));
      await new Promise((resolve, reject) => {
        room.on("subscribed", resolve);
        setTimeout(reject, 30_000, new Error(`${hookbox.status} ${room.status}`));
      });
      return [hookbox.user, hookbox.transport];
    },
    channel,
    options,
  );
}

const say = (page, payload) => page.evaluate((value) => room.publish(value), payload);

async function hears(page, expected) {
  await page.waitForFunction((count) => heard.length >= count, {}, expected.length);
  assert.deepEqual(await page.evaluate(() => heard), expected);
}

/** Lose the connection under the client, as a network would. */
async function interrupt(page, meanwhile) {
  await page.evaluate(() => {
    window.outages = 0;
    hookbox.on("disconnected", () => (outages += 1));
    sockets.forEach((socket) => socket.close());
  });
  await page.waitForFunction(() => outages > 0);
  await meanwhile();
}

export default async function run(browser, plan, tell) {
  const { site, timeout, gates } = plan;
  const [alice, bob] = [await enter(browser, plan, "alice"), await enter(browser, plan, "bob")];
  // Keeps hold of the sockets, to cut them.
  await alice.evaluate(() => {
    window.sockets = [];
    const Genuine = window.WebSocket;
    window.WebSocket = class extends Genuine {
      constructor(...args) {
        super(...args);
        sockets.push(this);
      }
    };
  });
  // With an option of its own: not the connection that the page has already, over another socket.
  assert.deepEqual(await start(alice, "/chat/firefox/", { keep: 99 }), ["alice", "websocket"]);
  await start(bob, "/chat/firefox/", {});
  tell("connected and subscribed");

  await say(bob, 1);
  await say(alice, 2);
  await hears(alice, [1, 2]);
  await hears(bob, [1, 2]);
  tell("published both ways");

  await interrupt(alice, () => say(bob, 3));
  await hears(alice, [1, 2, 3]);
  await say(bob, 4);
  await hears(alice, [1, 2, 3, 4]);
  tell("came back without loss");

  // Firefox closes WebSockets when a navigation begins. This one comes to nothing.
  const nowhere = createServer(() => {}).listen(0, "127.0.0.1");
  await once(nowhere, "listening");
  await alice.evaluate((address) => {
    window.outages = 0;
    window.opened = sockets.length;
    location.href = address;
    setTimeout(() => window.stop(), 1500);
  }, `http://127.0.0.1:${nowhere.address().port}/`);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const quiet = await alice.evaluate(() => [sockets.at(-1).readyState, sockets.length - opened, outages, hookbox.status]);
  assert.deepEqual(quiet, [3, 0, 0, "connected"]);
  await say(bob, 5);
  await hears(alice, [1, 2, 3, 4, 5]);
  assert.equal(await alice.evaluate(() => outages), 0);
  nowhere.close();
  tell("was quiet while it was about to be left, and recovered");

  await alice.evaluate(() => hookbox.disconnect());
  for (const kind of ["streaming", "polling"]) {
    const [, transport] = await start(alice, `/chat/firefox-${kind}/`, { transports: [kind] });
    assert.equal(transport, kind);
    await say(alice, kind);
    await hears(alice, [kind]);
    await alice.evaluate(() => hookbox.disconnect());
  }
  tell("went around by streaming and polling");

  const second = await alice.browserContext().newPage();
  second.setDefaultTimeout(timeout);
  await second.goto(`${site}/chat/lobby/`);
  for (const page of [alice, second]) {
    assert.equal((await start(page, "/chat/firefox-shared/", { shared: true }))[1], "shared");
  }
  await say(bob, "not there");
  await say(second, "to all tabs");
  await hears(alice, ["to all tabs"]);
  await hears(second, ["to all tabs"]);
  tell("shared a connection among tabs");

  // No heartbeat would notice that the tab that leads has gone elsewhere, or is closed.
  const patient = { shared: true, payload: "quiet", heartbeat: { interval: 3_600_000 } };
  const third = await alice.browserContext().newPage();
  third.setDefaultTimeout(timeout);
  await third.goto(`${site}/chat/lobby/`);
  for (const page of [alice, second, third]) {
    assert.equal((await start(page, "/chat/firefox-quiet/", patient))[1], "shared");
    await page.evaluate(() => {
      window.outages = 0;
      hookbox.on("disconnected", () => (outages += 1));
    });
  }
  await start(bob, "/chat/firefox-quiet/", {});
  await alice.goto(`${site}/news/today/`);
  await say(bob, 1);
  for (const page of [second, third]) {
    await hears(page, [1]);
  }
  await second.close();
  await say(bob, 2);
  await hears(third, [1, 2]);
  assert.equal(await third.evaluate(() => outages), 0);
  tell("handed on the lead when the tab was left");

  await third.evaluate(situations);
  for (const name of await third.evaluate(() => Object.keys(situations))) {
    await third.evaluate((one, context) => situations[one](context), name, { gates });
    tell(name);
  }
}
