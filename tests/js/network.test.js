import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { connect, SessionEnded } from "../../djhookbox/static/djhookbox/hookbox.js";
import { FakeBrowser, record } from "./fakes.js";
import { FakeCsp, settle } from "./fake_csp.js";
import "../../djhookbox/static/djhookbox/csp_transport.js"; // loaded by the client in no time then

let browser;

beforeEach(() => {
  browser = new FakeBrowser();
});

const start = (options = {}) => connect({ environment: browser.environment, ...options });

/** Let a server be down for so long: each socket ends as soon as it is there. */
function outage(milliseconds, code = 1006) {
  const attempts = [];
  let known = browser.sockets.length - 1;
  for (let passed = 0; passed < milliseconds; passed += 10) {
    while (known < browser.sockets.length - 1 || browser.socket.closedWith === null) {
      known = browser.sockets.length - 1;
      attempts.push(passed);
      browser.drop(code);
    }
    browser.clock.pass(10);
  }
  return attempts;
}

/** Pass the time until the page tries to connect. */
function untilItTries() {
  while (browser.socket.closedWith !== null) {
    browser.clock.pass(50);
  }
}

describe("an outage", () => {
  const handlers = {
    "connects again when told": (hookbox) => hookbox.on("disconnected", () => hookbox.connect()),
    "connects again whenever it waits": (hookbox) =>
      hookbox.on("status", (status) => status === "waiting" && hookbox.connect()),
    "closes and connects again": (hookbox) =>
      hookbox.on("disconnected", ({ reconnecting }) => {
        if (reconnecting) {
          hookbox.disconnect();
          hookbox.connect();
        }
      }),
    "connects again all the time": (hookbox) => {
      const again = () => {
        hookbox.connect();
        browser.clock.setTimeout(again, 50);
      };
      again();
    },
  };
  for (const [what, handle] of Object.entries(handlers)) {
    test(`is told once, and the delays grow, where the page ${what}`, () => {
      const hookbox = start();
      const seen = record(hookbox, "disconnected");
      browser.accept();
      browser.clock.pass(60_000);
      handle(hookbox);
      const attempts = outage(60_000);
      assert.ok(attempts.length >= 5 && attempts.length <= 14, attempts.join());
      const gaps = attempts.slice(1).map((at, index) => at - attempts[index]);
      assert.ok(gaps.at(-1) >= 5000, gaps.join());
      assert.equal(seen.filter(([, { reconnecting }]) => reconnecting).length, 1);
      untilItTries();
      browser.accept();
      assert.equal(hookbox.connected, true);
    });
  }

  test("is over sooner if a person wants to, or code after a while", () => {
    const hookbox = start();
    browser.accept();
    outage(25_000);
    const before = browser.sockets.length;
    hookbox.connect();
    assert.equal(browser.sockets.length, before, "it has waited for a moment only");
    browser.window.navigator = { userActivation: { isActive: true } };
    hookbox.connect();
    assert.equal(browser.sockets.length, before + 1);
  });

  test("is not prolonged by a clock that is set back", () => {
    for (const back of [1, 3_600_000, 86_400_000_000]) {
      browser = new FakeBrowser();
      let set = 0;
      browser.environment.now = () => browser.clock.now - set;
      const hookbox = start();
      browser.accept();
      outage(25_000);
      set = back;
      hookbox.disconnect();
      hookbox.connect();
      browser.clock.pass(10_001);
      assert.equal(browser.socket.closedWith, null, String(back));
    }
  });

  test("does not turn a refusal into a storm either", () => {
    const hookbox = start();
    hookbox.on("refused", () => hookbox.connect());
    hookbox.on("disconnected", () => hookbox.connect());
    for (let passed = 0; passed < 30_000; passed += 10) {
      if (browser.socket.closedWith === null) {
        browser.socket.onopen({});
        browser.deliver(["ERROR", { id: browser.idOf("CONNECT"), msg: "No", code: "refused" }]);
      }
      browser.clock.pass(10);
    }
    assert.ok(browser.sockets.length > 3 && browser.sockets.length < 12, String(browser.sockets.length));
  });
});

describe("a page that is being left", () => {
  test("is quiet where the browser closes its WebSocket first, and recovers if it stays", () => {
    const hookbox = start();
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1 });
    const seen = record(hookbox, "disconnected", "status");
    browser.drop(1001); // as Firefox does when a navigation starts
    browser.clock.pass(4900);
    assert.deepEqual([browser.sockets.length, seen], [1, []]);
    browser.clock.pass(1500); // it was a download
    browser.accept();
    assert.equal(browser.sent("SUBSCRIBE")[0][2].since, "a:1");
    assert.deepEqual(seen.filter(([event]) => event === "disconnected"), []);
    assert.equal(room.status, "subscribing");
  });

  test("says nothing after pagehide, and is back at once from where the browser kept it", () => {
    const hookbox = start();
    browser.accept();
    const seen = record(hookbox, "disconnected");
    browser.window.dispatchEvent(new Event("pagehide"));
    browser.drop(1006);
    browser.clock.pass(60_000);
    assert.equal(browser.sockets.length, 1);
    browser.window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    assert.equal(browser.sockets.length, 2);
    browser.accept();
    assert.deepEqual(seen, []);
    assert.equal(hookbox.connected, true);
  });

  test("is back without a word where the connection dies only as it is shown again", () => {
    const hookbox = start();
    browser.accept();
    const seen = record(hookbox, "disconnected");
    const [first] = browser.sockets;
    browser.window.dispatchEvent(new Event("pagehide"));
    browser.window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    first.onclose({ code: 1006, reason: "" }); // as Chromium does
    browser.accept();
    assert.deepEqual([seen, browser.sockets.length, hookbox.connected], [[], 2, true]);
  });
});

describe("a page that is loaded in advance", () => {
  beforeEach(() => {
    browser.document.prerendering = true;
  });

  const show = () => {
    browser.document.prerendering = false;
    browser.document.dispatchEvent(new Event("prerenderingchange"));
  };

  test("connects when it is shown", async () => {
    browser.document.visibilityState = "hidden"; // also after that, in a tab in the background
    const hookbox = start();
    const room = hookbox.subscribe("/r/");
    const published = room.publish(1);
    hookbox.connect();
    browser.window.dispatchEvent(new Event("online"));
    browser.clock.pass(10_000);
    assert.deepEqual([browser.sockets.length, hookbox.status, room.status], [0, "waiting", "waiting"]);
    show();
    browser.accept();
    browser.subscribe("/r/");
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH") }]);
    await published;
    assert.deepEqual([browser.sockets.length, hookbox.status], [1, "connected"]);
  });

  test("does not, if it has disconnected before", () => {
    const hookbox = start();
    hookbox.disconnect();
    show();
    browser.clock.pass(60_000);
    assert.deepEqual([browser.sockets.length, hookbox.status], [0, "closed"]);
  });
});

describe("a transport", () => {
  test("whose connections are cut three times in a row is given up for the next", async () => {
    const csp = new FakeCsp(browser);
    const hookbox = start({ heartbeat: { interval: 0 } });
    for (let life = 0; life < 3; life += 1) {
      untilItTries();
      assert.equal(hookbox.transport, "websocket");
      browser.accept();
      browser.clock.pass(2500);
      browser.drop(1006);
    }
    browser.clock.pass(4000);
    await settle();
    assert.equal(hookbox.transport, "streaming");
    assert.equal(hookbox.connected, true);
    assert.equal(csp.sessions.length, 1);
    // And it takes longer than usual until it is trusted again.
    browser.clock.pass(600_000);
    await settle();
    assert.equal(browser.sockets.length, 3);
  });

  test("is not blamed for a server that restarts, nor for connections that lasted", () => {
    new FakeCsp(browser);
    const hookbox = start();
    for (const [life, code] of [[2500, 1012], [2500, 4001], [2500, 1006], [2500, 1006], [11_000, 1006], [2500, 1006]]) {
      browser.accept();
      browser.clock.pass(life);
      browser.drop(code);
      untilItTries();
      assert.equal(hookbox.transport, "websocket");
    }
  });

  test("that cannot even be made has failed, and the next is tried", async () => {
    new FakeCsp(browser);
    browser.environment.WebSocket = class {
      constructor() {
        throw new DOMException("An insecure WebSocket connection may not be initiated.", "SecurityError");
      }
    };
    const hookbox = start();
    await settle();
    assert.equal(hookbox.transport, "streaming");
    assert.equal(hookbox.connected, true);
    const other = start({ transports: ["websocket"] });
    const seen = record(other, "disconnected");
    await settle();
    assert.match(seen[0][1].reason, /insecure WebSocket/);
    assert.equal(other.status, "waiting");
  });

  test("that is a class of the page's own and throws is reported likewise", async () => {
    const transport = class {
      constructor() {
        throw new TypeError("not today");
      }
    };
    const hookbox = start({ transport });
    await settle();
    assert.equal(hookbox.status, "waiting");
  });
});

describe("long polls that nobody holds", () => {
  for (const [what, answer] of [
    ["empty", () => new Response("([])\n")],
    ["without anything", () => new Response("")],
    ["cut", () => new Response(new ReadableStream({ pull: (controller) => controller.error(new TypeError("cut")) }))],
  ]) {
    test(`but answered at once, ${what}, are given up`, async () => {
      const csp = new FakeCsp(browser);
      const { fetch } = browser.environment;
      let polls = 0;
      browser.environment.fetch = (address, init) => {
        const poll = address.includes("/comet?") && csp.frames.length > 0 && csp.session.lastId === 1;
        polls += poll ? 1 : 0;
        return poll && polls > 1 ? Promise.resolve(answer()) : fetch(address, init);
      };
      const hookbox = start({ transports: ["polling"] });
      const seen = record(hookbox, "disconnected");
      await settle();
      for (let passed = 0; passed < 20_000 && seen.length === 0; passed += 100) {
        browser.clock.pass(100);
        await settle();
      }
      assert.match(seen[0][1].reason, /answers the requests/);
      assert.ok(polls < 15, String(polls));
    });
  }
});

describe("tabs over HTTP", () => {
  /** Tabs of one browser, each with its own clock. */
  function tabs(count, logger) {
    const channels = new Set();
    class BroadcastChannel {
      constructor() {
        channels.add(this);
      }

      postMessage(data) {
        [...channels].filter((one) => one !== this).forEach((one) => one.onmessage({ data }));
      }

      close() {
        channels.delete(this);
      }
    }
    return Array.from({ length: count }, () => {
      const tab = new FakeBrowser();
      new FakeCsp(tab);
      Object.assign(tab.environment, { BroadcastChannel });
      return [tab, connect({ environment: tab.environment, transports: ["polling"], logger })];
    });
  }

  for (const [count, warned] of [[4, 0], [5, 1], [7, 1]]) {
    test(`that are ${count} ${warned ? "are told of the limit" : "are fine"}`, async () => {
      const told = [];
      const opened = tabs(count, { warn: (text) => told.push(text), debug: () => {} });
      await settle();
      opened.at(-1)[0].clock.pass(1000);
      assert.equal(told.length, warned);
      assert.ok(told.every((text) => text.includes(`${count} tabs hold a connection to site.example:8001`)));
    });
  }

  test("that have gone do not count", async () => {
    const told = [];
    const opened = tabs(4, { warn: (text) => told.push(text), debug: () => {} });
    await settle();
    opened.forEach(([, hookbox]) => hookbox.disconnect());
    await settle();
    tabs(4, { warn: (text) => told.push(text), debug: () => {} }).at(-1)[0].clock.pass(1000);
    assert.deepEqual(told, []);
  });
});

describe("no limit", () => {
  test("is what Infinity, or more than a browser's timers take, says", async () => {
    const { environment } = browser;
    const { setTimeout } = environment;
    // A browser takes what it does not know for nothing.
    environment.setTimeout = (callback, delay) => setTimeout(callback, delay > 2 ** 31 - 1 ? 1 : delay);
    const hookbox = start({ timeout: Infinity, heartbeat: { interval: Infinity, timeout: 3e9 } });
    browser.accept();
    const promise = hookbox.publish("/r/", 1);
    browser.clock.pass(100_000_000);
    assert.equal(browser.socket.pings.length, 0);
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH") }]);
    await promise;
    for (const [days, pings] of [[24, 1], [30, 0]]) {
      const hookbox = start({ keep: days, heartbeat: { interval: days * 86_400_000 } });
      browser.accept();
      browser.clock.pass(days * 86_400_000);
      assert.equal(browser.socket.pings.length, pings);
      hookbox.disconnect();
    }
  });
});

describe("a token function", () => {
  test("that says the session has ended is not asked again, and the page is told", async () => {
    let asked = 0;
    const token = () => {
      asked += 1;
      throw new SessionEnded("Sign in again.");
    };
    const hookbox = start({ token });
    const seen = record(hookbox, "refused", "sessionended", "disconnected");
    browser.socket.onopen({});
    await settle();
    browser.clock.pass(600_000);
    assert.deepEqual(seen.map(([event]) => event), ["refused", "sessionended", "disconnected"]);
    assert.equal(seen[0][1].code, "session_expired");
    assert.equal(seen[1][1].reason, "Sign in again.");
    assert.deepEqual([asked, hookbox.status], [1, "closed"]);
  });

  test("that fails is asked less and less often, and each failure is told", async () => {
    let asked = 0;
    const token = () => Promise.reject(new Error(`offline ${(asked += 1)}`));
    const hookbox = start({ token });
    const seen = record(hookbox, "error");
    for (let passed = 0; passed < 120_000; passed += 100) {
      if (browser.socket.closedWith === null) {
        browser.socket.onopen({});
        await settle();
      }
      browser.clock.pass(100);
    }
    assert.ok(asked >= 8 && asked <= 20, String(asked));
    assert.equal(seen.length, asked);
    assert.equal(seen[0][1].message, "offline 1");
    assert.equal(seen[0][1].code, "unavailable");
  });

  test("that never answers is not the transport's fault", async () => {
    new FakeCsp(browser);
    const hookbox = start({ token: () => new Promise(() => {}) });
    browser.socket.onopen({});
    browser.clock.pass(15_000);
    assert.deepEqual([hookbox.status, hookbox.transport], ["waiting", "websocket"]);
  });
});

describe("a server that restarts", () => {
  test("is obeyed over how many seconds to come back", () => {
    for (const [random, at] of [[0, 0], [0.5, 20_500], [0.999, 40_959]]) {
      browser = new FakeBrowser({ random: () => random });
      const hookbox = start();
      hookbox.on("disconnected", () => hookbox.connect()); // whatever handlers do
      browser.accept();
      browser.deliver(["DISCONNECT", { code: 1012, reason: "The server restarts", spread: 40 }]);
      browser.clock.pass(Math.max(at - 1, 0));
      assert.equal(browser.sockets.length, at > 0 ? 1 : 2);
      browser.clock.pass(1);
      assert.equal(browser.sockets.length, 2);
    }
  });

  test("cannot keep the page away for longer than ten minutes, nor by nonsense", () => {
    for (const [spread, at] of [[1e9, 600_500], ["x", 500], [-5, 500], [null, 500], [Infinity, 600_500]]) {
      browser = new FakeBrowser();
      start();
      browser.accept();
      browser.deliver(["DISCONNECT", { code: 1012, reason: "", spread: spread === Infinity ? 1e308 : spread }]);
      browser.clock.pass(at * 0.5 + 250);
      assert.equal(browser.sockets.length, 2, String(spread));
    }
  });
});
