import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { connect } from "../../djhookbox/static/djhookbox/hookbox.js";
import { FakeBrowser, record } from "./fakes.js";

let browser;

beforeEach(() => {
  browser = new FakeBrowser();
});

const start = (options = {}) => connect({ environment: browser.environment, ...options });

describe("the heartbeat", () => {
  test("finds a dead connection within the time that the page chose", () => {
    const hookbox = start({ heartbeat: { interval: 5000, timeout: 2000 } });
    const seen = record(hookbox, "disconnected");
    browser.accept();
    browser.clock.pass(20_000);
    assert.equal(browser.socket.pings.length, 4);
    assert.deepEqual(seen, []);
    browser.alive = false;
    browser.clock.pass(7000);
    assert.deepEqual(seen[0][1], { code: 1006, reason: "The server did not answer in time.", reconnecting: true });
    browser.alive = true;
    browser.clock.pass(2000);
    browser.accept();
    browser.clock.pass(5000);
    assert.equal(browser.socket.pings.length, 1);
    assert.equal(hookbox.connected, true);
  });

  test("takes any frame as a sign of life", () => {
    const hookbox = start({ heartbeat: { interval: 5000, timeout: 2000 } });
    browser.accept();
    browser.alive = false;
    for (let second = 0; second < 30; second += 1) {
      browser.clock.pass(1000);
      browser.deliver(["MESSAGE", { sender: "bob", payload: second }]);
    }
    assert.equal(hookbox.connected, true);
    assert.ok(browser.socket.pings.length > 3);
  });

  test("can be switched off, and its answers are nobody's", () => {
    const hookbox = start({ heartbeat: { interval: 0 } });
    browser.accept();
    browser.clock.pass(100_000);
    assert.deepEqual(browser.socket.pings, []);
    const other = start();
    const errors = record(other, "error");
    browser.accept();
    browser.alive = false;
    browser.clock.pass(25_000);
    browser.deliver(["ERROR", { id: browser.socket.pings[0][0], msg: "Unknown frame name", code: "malformed" }]);
    browser.clock.pass(20_000);
    assert.deepEqual(errors, []);
    assert.equal(other.connected, true);
    hookbox.disconnect();
  });

  for (const [target, event] of [["window", "online"], ["window", "pageshow"], ["document", "visibilitychange"]]) {
    test(`is felt at once at ${event}: a laptop has slept`, () => {
      const hookbox = start();
      const seen = record(hookbox, "status");
      browser.accept();
      browser.alive = false;
      browser[target].dispatchEvent(new Event(event));
      browser[target].dispatchEvent(new Event(event));
      assert.equal(browser.socket.pings.length, 1);
      browser.clock.pass(10_000);
      assert.equal(seen.at(-1)[1], "waiting");
      browser[target].dispatchEvent(new Event(event));
      assert.equal(seen.at(-1)[1], "connecting");
    });
  }

  test("goes on after a late answer, also where it is more frequent than patient", () => {
    const hookbox = start({ heartbeat: { interval: 5000, timeout: 10_000 } });
    browser.accept();
    browser.alive = false;
    browser.clock.pass(11_000); // asked at 5000; the answer comes after the next was due
    browser.deliver(["ACK", { id: browser.socket.pings[0][0] }]);
    browser.clock.pass(20_000);
    assert.equal(hookbox.connected, false, "the dead connection is found");
  });
});

describe("what is published meanwhile", () => {
  test("is kept up to a bound", async () => {
    const hookbox = start({ keep: 2 });
    const kept = [hookbox.publish("/a/", 1), hookbox.publish("/a/", 2)];
    await assert.rejects(hookbox.publish("/a/", 3), { code: "limit" });
    browser.accept();
    assert.deepEqual(browser.sent("PUBLISH").map((frame) => frame[2].payload), ["1", "2"]);
    browser.sent("PUBLISH").forEach(([id]) => browser.deliver(["ACK", { id }]));
    await Promise.all(kept);
  });

  test("or rejected at once, and a connection takes any number", async () => {
    const hookbox = start({ keep: 0 });
    await assert.rejects(hookbox.publish("/a/", 1), { code: "offline" });
    browser.accept();
    const taken = Array.from({ length: 200 }, () => hookbox.publish("/a/", 1));
    browser.sent("PUBLISH").forEach(([id]) => browser.deliver(["ACK", { id }]));
    await Promise.all(taken);
  });

  test("waits as long as the page says", async () => {
    const hookbox = start({ timeout: 60_000 });
    const promise = hookbox.publish("/a/", 1);
    browser.clock.pass(59_000);
    browser.drop(1006);
    browser.clock.pass(500);
    browser.accept();
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH") }]);
    await promise;
  });

  test("and was given up makes room", async () => {
    const hookbox = start();
    const old = Array.from({ length: 100 }, () => hookbox.publish("/a/", 1));
    browser.clock.pass(15_000);
    assert.ok((await Promise.allSettled(old)).every(({ reason }) => reason.code === "timeout"));
    const fresh = hookbox.publish("/a/", 2);
    browser.clock.pass(1000);
    browser.accept();
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH") }]);
    await fresh;
  });

  test("goes before what a page publishes as soon as it is connected", () => {
    const hookbox = start();
    hookbox.publish("/a/", 1);
    hookbox.on("connected", () => hookbox.publish("/a/", 2));
    hookbox.on("status", (status) => status === "connected" && hookbox.publish("/a/", 1.5));
    browser.accept();
    assert.deepEqual(browser.sent("PUBLISH").map((frame) => frame[2].payload), ["1", "1.5", "2"]);
    hookbox.publish("/a/", 3);
    assert.equal(browser.sent("PUBLISH").length, 4);
  });

  test("is not taken for sent before the server is known", async () => {
    const hookbox = start({ keep: 0 });
    let promise;
    hookbox.on("status", (status) => status === "connected" && (promise = hookbox.publish("/a/", 1)));
    browser.accept();
    browser.deliver(["ERROR", { id: browser.idOf("PUBLISH"), msg: "No", code: "refused" }]);
    await assert.rejects(promise, { code: "refused" });
  });
});

describe("a session", () => {
  test("whose key was rotated costs one silent reconnect", () => {
    const hookbox = start();
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1 });
    const seen = record(hookbox, "disconnected", "sessionended", "refused");
    browser.drop(4000, "The session has changed");
    browser.clock.pass(1500);
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1, recovered: [], missed: 0 });
    assert.deepEqual(seen, []);
    assert.equal(room.recovered, true);
  });

  test("that has ended is told with the reason, and after logging in again all goes on", () => {
    const hookbox = start();
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1 });
    const seen = record(hookbox, "disconnected", "sessionended", "refused");
    browser.drop(4000, "The session has changed");
    browser.clock.pass(1500);
    browser.socket.onopen({});
    browser.deliver(["ERROR", { id: browser.idOf("CONNECT"), msg: "You are not signed in", code: "session_expired" }]);
    browser.clock.pass(100_000);
    assert.equal(browser.sockets.length, 2);
    assert.deepEqual(seen.map(([event]) => event), ["refused", "sessionended", "disconnected"]);
    assert.equal(seen[1][1].reason, "You are not signed in");
    hookbox.connect();
    browser.accept();
    assert.equal(browser.sent("CONNECT")[0][2].expect_user, "alice");
    assert.equal(browser.sent("SUBSCRIBE")[0][2].since, "a:1");
    assert.equal(room.status, "subscribing");
  });

  test("that ends with the account is told too", () => {
    const hookbox = start();
    browser.accept();
    const seen = record(hookbox, "sessionended", "disconnected");
    browser.drop(4501, "The account is gone");
    assert.deepEqual(seen[0], ["sessionended", { code: 4501, reason: "The account is gone" }]);
    assert.equal(seen[1][1].reconnecting, false);
  });

  test("that is found to be over by a request is looked at again", async () => {
    const hookbox = start();
    browser.accept();
    const promise = hookbox.publish("/a/", 1);
    browser.deliver(["ERROR", { id: browser.idOf("PUBLISH"), msg: "session expired", code: "session_expired" }]);
    await assert.rejects(promise, { code: "session_expired" });
    browser.clock.pass(1500);
    assert.equal(browser.sockets.length, 2);
    browser.socket.onopen({});
    assert.equal(browser.sent("CONNECT")[0][2].expect_user, "alice");
  });
});

describe("a token", () => {
  test("is fetched anew for each connection", async () => {
    let number = 0;
    start({ token: async () => `token${(number += 1)}` });
    for (const expected of ["token1", "token2"]) {
      browser.socket.onopen({});
      await new Promise(setImmediate);
      assert.equal(browser.sent("CONNECT")[0][2].token, expected);
      browser.deliver(["CONNECTED", { name: "alice", version: "1" }]);
      browser.drop(1006);
      browser.clock.pass(1000);
    }
  });

  test("that cannot be had is waited for like a server", async () => {
    let works = false;
    const hookbox = start({ token: () => (works ? "t" : Promise.reject(new Error("offline"))) });
    browser.socket.onopen({});
    await new Promise(setImmediate);
    assert.equal(hookbox.status, "waiting");
    works = true;
    browser.clock.pass(500);
    browser.socket.onopen({});
    await new Promise(setImmediate);
    assert.equal(browser.sent("CONNECT")[0][2].token, "t");
  });

  test("that fails, whatever it says, is not the transport's fault", async () => {
    browser.environment.fetch = () => new Promise(() => {});
    const token = () => Promise.reject(new Error("x".repeat(200)));
    const hookbox = start({ token });
    browser.socket.onopen({});
    await new Promise(setImmediate);
    assert.equal(hookbox.status, "waiting");
    assert.equal(browser.socket.closedWith, 1000);
    assert.equal(hookbox.transport, "websocket");
  });
});
