import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { connect } from "../../djhookbox/static/djhookbox/hookbox.js";
import { FakeBrowser, record } from "./fakes.js";
import { FakeCsp, settle } from "./fake_csp.js";
import "../../djhookbox/static/djhookbox/csp_transport.js"; // loaded by the client in no time then

const STORED = "djhookbox:transport";

let browser;
let csp;

beforeEach(() => {
  browser = new FakeBrowser();
  csp = new FakeCsp(browser);
});

const start = (options = {}) => connect({ environment: browser.environment, ...options });

describe("the transport", () => {
  test("is a WebSocket where there is one, and nothing is stored", async () => {
    const hookbox = start();
    browser.accept();
    await settle();
    assert.equal(hookbox.transport, "websocket");
    assert.deepEqual(csp.calls, []);
    assert.equal(browser.stored.size, 0);
  });

  test("is a stream where no WebSocket opens, at once, and that is remembered", async () => {
    const hookbox = start();
    browser.drop(1006);
    await settle();
    assert.equal(hookbox.connected, true);
    assert.equal(hookbox.transport, "streaming");
    assert.match(browser.stored.get(STORED), /^streaming \d+$/);
    const next = start();
    await settle();
    assert.equal(next.connected, true);
    assert.equal(browser.sockets.length, 1, "the next page does not try in vain");
  });

  test("is polling where streams are held back", async () => {
    csp.holdsStreams = true;
    const hookbox = start();
    browser.drop(1006);
    await settle();
    browser.clock.pass(8000);
    await settle();
    assert.equal(hookbox.transport, "polling");
    assert.equal(hookbox.connected, true);
    assert.equal(csp.sessions.length, 2);
    assert.ok(csp.calls.includes("close"), "the session of the stream was not left behind");
  });

  test("is found without WebSocket too", async () => {
    browser.environment.WebSocket = undefined;
    const hookbox = start();
    await settle();
    assert.equal(hookbox.transport, "streaming");
    assert.equal(hookbox.connected, true);
  });

  test("that hangs in opening is given up", async () => {
    const hookbox = start();
    browser.clock.pass(8000);
    await settle();
    assert.equal(hookbox.transport, "streaming");
    browser.environment.fetch = undefined;
  });

  test("that has worked is trusted longer: it is the network", async () => {
    const hookbox = start();
    browser.accept();
    csp.down = true;
    for (let attempt = 0; attempt < 3; attempt += 1) {
      browser.drop(1006);
      await settle();
      assert.equal(hookbox.transport, "websocket");
      const before = browser.sockets.length;
      while (browser.sockets.length === before) {
        browser.clock.pass(500);
      }
    }
    browser.drop(1006);
    await settle();
    assert.equal(hookbox.status, "waiting", "nothing works");
    assert.equal(hookbox.transport, "websocket", "and the best comes first again");
  });

  test("gets better again in the middle of the connection, without loss", async () => {
    const hookbox = start({ heartbeat: { interval: 0 }, timeout: 3_600_000 });
    const room = hookbox.subscribe("/r/");
    browser.drop(1006);
    await settle();
    csp.deliver(["SUBSCRIBE", { channel_name: "/r/", user: "alice", epoch: "a", offset: 1 }]);
    await settle();
    const seen = record(room, "publish", "gap");
    const lost = record(hookbox, "disconnected");
    const promise = hookbox.publish("/r/", 1);
    await settle();
    browser.clock.pass(600_000);
    assert.equal(browser.sockets.length, 1, "not while an answer is outstanding");
    csp.deliver(["ACK", { id: csp.frames.at(-1)[0] }]);
    await promise;
    browser.clock.pass(1000);
    assert.equal(browser.sockets.length, 2);
    assert.equal(hookbox.transport, "streaming");
    browser.socket.onopen({});
    assert.equal(browser.sockets.length, 3);
    browser.accept();
    assert.equal(hookbox.transport, "websocket");
    assert.equal(browser.sent("SUBSCRIBE")[0][2].since, "a:1");
    const late = { payload: 2, offset: 2 };
    browser.subscribe("/r/", { epoch: "a", offset: 2, recovered: [late], missed: 0 });
    assert.deepEqual(seen.map(([event, detail]) => [event, detail.payload]), [["publish", 2]]);
    assert.deepEqual(lost, []);
    assert.equal(browser.stored.size, 0);
  });

  test("stays as it is while nothing better opens", async () => {
    const hookbox = start({ heartbeat: { interval: 0 } });
    browser.drop(1006);
    await settle();
    browser.clock.pass(600_000);
    browser.drop(1006);
    await settle();
    assert.equal(hookbox.connected, true);
    assert.equal(hookbox.transport, "streaming");
    browser.clock.pass(600_000);
    assert.equal(browser.sockets.length, 3);
  });

  test("is tried from the best on when what is remembered is old or nonsense", async () => {
    for (const text of ["streaming 1", "nonsense", "streaming", "websocket 0", "streaming 99999999999"]) {
      browser.clock.pass(600_001);
      browser.stored.set(STORED, text);
      browser.openPage();
      const before = browser.sockets.length;
      start();
      await settle();
      assert.equal(browser.sockets.length, before + 1, text);
    }
    browser.environment.storage = { getItem: () => { throw new Error("closed"); } };
    start();
    browser.accept();
  });

  test("is one of those that the page names", async () => {
    const hookbox = start({ transports: ["polling"] });
    await settle();
    assert.equal(hookbox.transport, "polling");
    assert.deepEqual(browser.sockets, []);
  });
});

describe("CSP", () => {
  test("sends one request at a time, and again what the network lost", async () => {
    const hookbox = start({ transports: ["streaming"] });
    await settle();
    csp.losesNext = "answer";
    const promises = [1, 2, 3].map((n) => hookbox.publish("/a/", n));
    await settle();
    browser.clock.pass(500);
    await settle();
    const publishes = csp.frames.filter((frame) => frame[1] === "PUBLISH");
    assert.deepEqual(publishes.map((frame) => frame[2].payload), ["1", "2", "3"]);
    csp.deliver(...publishes.map(([id]) => ["ACK", { id }]));
    await Promise.all(promises);
  });

  for (const kind of ["streaming", "polling"]) {
    test(`hears all by ${kind}, in any language, and acknowledges it`, async () => {
      const hookbox = start({ transports: [kind] });
      const seen = record(hookbox, "message");
      await settle();
      for (let n = 0; n < 5; n += 1) {
        csp.deliver(["MESSAGE", { payload: `ü€😀${n}` }], ["MESSAGE", { payload: n }]);
        await settle();
      }
      assert.deepEqual(seen.map(([, one]) => one.payload).filter((one) => typeof one === "string"), [0, 1, 2, 3, 4].map((n) => `ü€😀${n}`));
      assert.equal(seen.length, 10);
    });
  }

  test("tells the close code that the server had no other way to tell", async () => {
    const hookbox = start({ transports: ["streaming"] });
    const seen = record(hookbox, "disconnected");
    await settle();
    csp.deliver(["DISCONNECT", { code: 4500, reason: "Go" }]);
    await settle();
    assert.deepEqual(seen[0][1], { code: 4500, reason: "Go", reconnecting: false });
  });

  test("comes back when the server has forgotten the session, or ended it", async () => {
    const hookbox = start({ transports: ["polling"] });
    const seen = record(hookbox, "disconnected");
    await settle();
    csp.session.known = false;
    csp.session.release();
    await settle();
    assert.equal(seen[0][1].reconnecting, true);
    assert.match(seen[0][1].reason, /404/);
    browser.clock.pass(1000);
    await settle();
    assert.equal(hookbox.connected, true);
    csp.deliver(null);
    await settle();
    assert.equal(hookbox.status, "waiting");
  });

  test("closes its session with the page", async () => {
    const hookbox = start({ transports: ["streaming"] });
    await settle();
    browser.window.dispatchEvent(new Event("pagehide"));
    await settle();
    assert.equal(csp.calls.at(-1), "close");
    assert.equal(hookbox.status, "waiting", "the page may come out of the browser's cache");
    browser.window.dispatchEvent(new Event("pageshow"));
    await settle();
    assert.equal(hookbox.connected, true);
  });

  test("is no way that failed when the page goes before it is open", async () => {
    const requests = [];
    browser.environment.fetch = (address) => {
      requests.push(address);
      return new Promise(() => {});
    };
    const hookbox = start({ transports: ["streaming", "polling"] });
    await settle();
    browser.window.dispatchEvent(new Event("pagehide"));
    await settle();
    assert.equal(requests.length, 1);
    assert.deepEqual([hookbox.status, hookbox.transport], ["waiting", "streaming"]);
  });

  test("carries cookies, in requests that need no preflight", async () => {
    start({ transports: ["streaming"] });
    await settle();
    for (const { init, address } of csp.requests) {
      assert.equal(init.credentials, "include");
      assert.equal(init.method, "POST");
      assert.equal(init.headers, undefined);
      assert.match(address, /^http:\/\/site\.example:8001\/csp\/\w+\?/);
    }
  });
});
