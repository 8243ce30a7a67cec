/** What the console says while DEBUG is on. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, describe, test } from "node:test";

import { connect } from "../../djhookbox/static/djhookbox/hookbox.js";
import { FakeBrowser } from "./fakes.js";

const SCRIPT = readFileSync(new URL("../../djhookbox/static/djhookbox/debugging.js", import.meta.url), "utf8");
const BECAUSE = "(Shown because DEBUG is on.)";

describe("the console of a site with DEBUG", () => {
  let browser;
  let warnings;
  /** The answer of the site to a page that cannot connect, or an error. */
  let diagnosis;
  let asked;

  function load() {
    const globals = {
      document: browser.document,
      location: { hostname: "site.example", href: "http://site.example/" },
      console: { warn: (text) => warnings.push(text) },
      setTimeout: browser.clock.setTimeout,
      clearTimeout: browser.clock.clearTimeout,
      fetch: async (address) => {
        asked.push(address);
        if (diagnosis instanceof Error) {
          throw diagnosis;
        }
        return { json: async () => diagnosis };
      },
    };
    new Function(...Object.keys(globals), SCRIPT)(...Object.values(globals));
  }

  const settled = () => new Promise((resolve) => setImmediate(resolve));

  beforeEach(() => {
    browser = new FakeBrowser();
    warnings = [];
    asked = [];
    diagnosis = { problems: [] };
    const config = JSON.stringify({ port: 8001, diagnosis: "/hookbox/diagnosis/" });
    browser.document.elements.set("djhookbox-config", { textContent: config });
    load();
  });

  const open = () => connect({ environment: browser.environment });

  test("a message that reaches nobody is named, others are not", async () => {
    const hookbox = open();
    browser.accept();
    const sent = [{ delivered: 0 }, { delivered: 2 }, {}].map((answer) => {
      const promise = hookbox.publish("/a/", 1, { key: "k" });
      assert.equal(browser.sent("PUBLISH").at(-1)[2].key, "k", "what is watched is sent unchanged");
      browser.deliver(["ACK", { id: browser.idOf("PUBLISH"), ...answer }]);
      return promise;
    });
    await Promise.all(sent);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /^hookbox: A message to \/a\/ reached nobody.* See https:.*troubleshooting/);
    assert.ok(warnings[0].endsWith(BECAUSE));
  });

  test("a refused message is named, and its promise is rejected as ever", async () => {
    const hookbox = open();
    browser.accept();
    const promise = hookbox.subscribe("/a/").publish(1);
    browser.deliver(["ERROR", { id: browser.idOf("PUBLISH"), msg: "Staff only.", code: "refused" }]);
    await assert.rejects(promise, /Staff only/);
    assert.match(warnings[0], /\/a\/ was not published: Staff only\. See .*#errorcode-refused/);
  });

  test("a refused connection is named", () => {
    open();
    browser.socket.onopen({});
    browser.deliver(["ERROR", { id: browser.idOf("CONNECT"), msg: "Sign in.", code: "refused" }]);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /The site refused the connection: Sign in\. \(refused\) See .*#errorcode-refused/);
  });

  test("a site that does not answer is named", () => {
    open();
    browser.socket.onopen({});
    browser.deliver(["ERROR", { id: browser.idOf("CONNECT"), msg: "The site did not answer", code: "unavailable" }]);
    assert.match(warnings[0], /The site did not answer \(unavailable\) See .*#errorcode-unavailable/);
  });

  test("the site is asked why the page cannot connect, once per outage", async () => {
    diagnosis = { problems: [{ text: "It is not running.", advice: "Start it." }] };
    open();
    for (let attempt = 0; attempt < 4; attempt += 1) {
      browser.drop(1006);
      browser.clock.pass(3000);
    }
    await settled();
    assert.deepEqual(asked, ["/hookbox/diagnosis/"]);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /cannot connect to site\.example:8001\. It is not running\. Start it\. See /);
  });

  test("a restart is no outage", async () => {
    open();
    browser.accept();
    browser.drop(1012);
    browser.clock.pass(1000);
    browser.accept();
    browser.clock.pass(5000);
    await settled();
    assert.deepEqual([asked, warnings], [[], []]);
  });

  test("the console also tells if the site finds nothing, or does not answer", async () => {
    for (const [answer, expected] of [
      [{ problems: [] }, /The site reaches the process, but this page cannot connect/],
      [new TypeError("no network"), /the site does not say why/],
    ]) {
      diagnosis = answer;
      browser.openPage();
      browser.document.elements.set("djhookbox-config", { textContent: '{"url": "wss://live.example/a"}' });
      load();
      warnings = [];
      open();
      browser.drop(1006);
      browser.clock.pass(3000);
      await settled();
      assert.match(warnings[0], expected);
      assert.match(warnings[0], /live\.example/);
    }
  });

  test("a connection that was closed for good is explained, unless the page closed it", () => {
    const first = open();
    browser.accept();
    browser.drop(4500, "Go away");
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /closed for good \(4500\): Go away\. See .*#closecode-4500/);
    first.connect();
    browser.clock.pass(60_000);
    browser.accept();
    first.disconnect();
    assert.equal(warnings.length, 1);
  });

  test("what a Content Security Policy blocks is named", () => {
    const violation = (effectiveDirective, blockedURI) => {
      browser.document.dispatchEvent(
        Object.assign(new Event("securitypolicyviolation"), { effectiveDirective, blockedURI }),
      );
    };
    violation("connect-src", "ws://site.example:8001/ws");
    violation("connect-src", "https://other.example/");
    violation("img-src", "http://site.example:8001/");
    assert.equal(warnings.length, 1);
    assert.match(warnings[0], /blocks ws:\/\/site\.example:8001\/ws: add it to connect-src\. See .*howto\/csp/);
  });

  test("a connection of a page of 2011 is watched, with its own address", async () => {
    diagnosis = { problems: [{ text: "It is not running.", advice: "Start it." }] };
    const listeners = new Map();
    const old = {
      url: "http://old.example:8001",
      on: (event, listener) => listeners.set(event, listener),
      publish: async () => ({}),
    };
    const kept = browser.document[Symbol.for("djhookbox")];
    kept.watch(old);
    const { publish } = old;
    kept.watch(old);
    assert.equal(old.publish, publish, "once");
    listeners.get("disconnected")({ code: 1006, reason: "", reconnecting: true });
    browser.clock.pass(3000);
    await settled();
    assert.match(warnings[0], /cannot connect to old\.example:8001\. It is not running/);
  });

  test("a second copy of the script says nothing twice, and connections that exist are watched", async () => {
    load();
    browser.openPage();
    const hookbox = open();
    browser.document.elements.set("djhookbox-config", { textContent: '{"port": 8001}' });
    load();
    load();
    browser.accept();
    const promise = hookbox.publish("/a/", 1);
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH"), delivered: 0 }]);
    await promise;
    assert.equal(warnings.length, 1);
  });
});
