import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { connect, Connection, HookboxError } from "../../djhookbox/static/djhookbox/hookbox.js";
import { FakeBrowser, record, subscribeArgs } from "./fakes.js";

/** @type {FakeBrowser} */
let browser;
/** @type {Connection} */
let hookbox;

beforeEach(() => {
  browser = new FakeBrowser();
  hookbox = connect({ environment: browser.environment });
});

describe("connecting", () => {
  test("sends CONNECT when the socket is open, and nothing before", () => {
    assert.equal(browser.socket.url, "ws://site.example:8001/ws");
    assert.deepEqual(browser.socket.sent, []);
    browser.socket.onopen({});
    assert.deepEqual(browser.socket.sent, [
      [1, "CONNECT", { cookie_string: "", ack: true, per_connection_subscriptions: true }],
    ]);
  });

  test("takes what the template tag printed, and a string as 2011's pages gave it", () => {
    browser.document.elements.set("djhookbox-config", { textContent: '{"port": 9009, "token": "t"}' });
    connect({ environment: browser.environment, payload: { a: 1 } });
    browser.socket.onopen({});
    assert.equal(browser.socket.url, "ws://site.example:9009/ws");
    assert.deepEqual(browser.sent("CONNECT")[0][2], {
      cookie_string: "",
      ack: true,
      per_connection_subscriptions: true,
      payload: '{"a":1}',
      token: "t",
    });
  });

  test("tells who the site says it is", () => {
    const seen = record(hookbox, "status", "connected");
    assert.equal(hookbox.user, null);
    browser.accept("alice");
    assert.equal(hookbox.user, "alice");
    assert.equal(hookbox.connected, true);
    assert.deepEqual(seen, [
      ["status", "connected"],
      ["connected", { user: "alice", version: "djhookbox/1.0.0", conn_id: "c1" }],
    ]);
  });

  test("a refusal is told and final", () => {
    const seen = record(hookbox, "refused", "disconnected");
    browser.socket.onopen({});
    browser.deliver(["ERROR", { id: 1, msg: "Not today", code: "refused" }]);
    browser.drop(1000);
    browser.clock.pass(60_000);
    assert.equal(browser.sockets.length, 1);
    assert.equal(hookbox.status, "closed");
    assert.equal(seen[0][1].message, "Not today");
    assert.deepEqual(seen[1], ["disconnected", { code: 1000, reason: "Not today", reconnecting: false }]);
    assert.equal(seen.length, 2);
  });

  test("a site that is out of order is asked again", () => {
    const seen = record(hookbox, "error", "refused");
    browser.socket.onopen({});
    browser.deliver(["ERROR", { id: 1, msg: "The site does not answer", code: "unavailable" }]);
    assert.equal(browser.socket.closedWith, 1000);
    browser.clock.pass(1000);
    assert.equal(browser.sockets.length, 2);
    browser.accept();
    assert.equal(hookbox.connected, true);
    assert.deepEqual(seen.map(([event, error]) => [event, error.code]), [["error", "unavailable"]]);
  });

  test("a server that says nothing is given up and tried again", () => {
    browser.socket.onopen({});
    browser.clock.pass(15_000);
    assert.equal(browser.socket.closedWith, 1000);
    browser.clock.pass(1000);
    assert.equal(browser.sockets.length, 2);
  });

  test("disconnect() is final, and leaves no timer behind", () => {
    browser.accept();
    const seen = record(hookbox, "disconnected");
    hookbox.disconnect();
    browser.drop(1000);
    browser.window.dispatchEvent(new Event("online"));
    assert.equal(browser.clock.running, 0);
    assert.equal(browser.sockets.length, 1);
    assert.deepEqual(seen, [["disconnected", { code: 1000, reason: "", reconnecting: false }]]);
    hookbox.connect();
    browser.accept();
    assert.equal(hookbox.connected, true);
  });
});

describe("coming back", () => {
  test("after growing delays, told once, and again with the shortest after a good time", () => {
    const seen = record(hookbox, "disconnected");
    browser.accept();
    browser.drop(1012);
    const delays = [];
    for (let attempt = 0; attempt < 7; attempt += 1) {
      const before = browser.sockets.length;
      let waited = 0;
      while (browser.sockets.length === before) {
        browser.clock.pass(100);
        waited += 100;
      }
      delays.push(waited);
      browser.drop(1006);
    }
    // Half of each bound, as `random` says here.
    assert.deepEqual(delays, [500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    assert.deepEqual(seen, [["disconnected", { code: 1012, reason: "", reconnecting: true }]]);
    browser.clock.pass(10_000);
    browser.accept();
    browser.clock.pass(10_000);
    browser.drop(1006);
    browser.clock.pass(500);
    browser.accept();
    assert.equal(hookbox.connected, true);
  });

  test("a connection that breaks at once does not shorten the delays", () => {
    browser.accept();
    browser.drop(4001);
    browser.clock.pass(500);
    browser.accept();
    browser.drop(4001);
    browser.clock.pass(999);
    assert.equal(browser.sockets.length, 2);
    browser.clock.pass(1);
    assert.equal(browser.sockets.length, 3);
  });

  test("at once when the network is back or somebody looks", () => {
    browser.accept();
    browser.drop(1006);
    browser.document.visibilityState = "hidden";
    browser.document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(browser.sockets.length, 1);
    browser.document.visibilityState = "visible";
    browser.document.dispatchEvent(new Event("visibilitychange"));
    assert.equal(browser.sockets.length, 2);
    browser.drop(1006);
    browser.window.dispatchEvent(new Event("online"));
    assert.equal(browser.sockets.length, 3);
    browser.clock.pass(14_000);
    assert.equal(browser.sockets.length, 3, "the timer of the earlier plan is gone");
  });

  for (const code of [4500, 4501, 4502]) {
    test(`never after ${code}`, () => {
      browser.accept();
      const seen = record(hookbox, "disconnected");
      browser.drop(code, "account closed");
      browser.clock.pass(60_000);
      assert.equal(browser.sockets.length, 1);
      assert.deepEqual(seen, [["disconnected", { code, reason: "account closed", reconnecting: false }]]);
    });
  }

  test("only as the same user", () => {
    browser.accept("alice");
    browser.drop(4000, "session changed");
    browser.clock.pass(999);
    assert.equal(browser.sockets.length, 1, "the new cookie may still be on its way");
    browser.clock.pass(501);
    browser.socket.onopen({});
    assert.equal(browser.sent("CONNECT")[0][2].expect_user, "alice");
    const seen = record(hookbox, "refused");
    browser.deliver(["ERROR", { id: browser.idOf("CONNECT"), msg: "Log in", code: "session_expired" }]);
    browser.drop(1000);
    browser.clock.pass(60_000);
    assert.equal(seen.length, 1);
    assert.equal(browser.sockets.length, 2);
  });

  test("once after a changed session, not in a loop", () => {
    browser.accept();
    browser.drop(4000);
    browser.clock.pass(2000);
    browser.accept();
    browser.drop(4000);
    browser.clock.pass(60_000);
    assert.equal(browser.sockets.length, 2);
    assert.equal(hookbox.status, "closed");
  });

  test("again after a second change of the session, much later", () => {
    for (let login = 0; login < 3; login += 1) {
      browser.accept();
      browser.clock.pass(10_000);
      browser.drop(4000);
      browser.clock.pass(2000);
    }
    assert.equal(browser.sockets.length, 4);
  });

  test("an anonymous visitor may have another name then", () => {
    browser.accept(" _abc");
    browser.drop(1006);
    browser.clock.pass(500);
    browser.socket.onopen({});
    assert.equal("expect_user" in browser.sent("CONNECT")[0][2], false);
  });
});

describe("a page that disconnects the moment it hears of", () => {
  for (const status of ["connecting", "connected", "waiting"]) {
    test(status, () => {
      browser.socket.onopen({});
      if (status !== "connected") {
        browser.deliver(["CONNECTED", { name: "alice" }]);
      }
      const seen = record(hookbox, "connected", "disconnected");
      hookbox.on("status", (now) => now === status && hookbox.disconnect());
      if (status === "connected") {
        browser.deliver(["CONNECTED", { name: "alice" }]);
      } else {
        browser.drop(1006);
        browser.clock.pass(500);
      }
      assert.equal(hookbox.status, "closed");
      assert.equal(browser.clock.running, 0);
      assert.deepEqual(seen.at(-1), ["disconnected", { code: 1000, reason: "", reconnecting: false }]);
      if (status === "connecting") {
        assert.equal(browser.socket.closedWith, 1000);
      } else {
        assert.equal(seen.length, 1);
      }
    });
  }
});

describe("publishing", () => {
  test("publishing with a key, so that sending again stores nothing twice", async () => {
    browser.accept();
    const promise = hookbox.publish("/a/", 1, { key: "order-7" });
    assert.deepEqual(browser.sent("PUBLISH")[0][2], { channel_name: "/a/", payload: "1", key: "order-7" });
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH") }]);
    await promise;
    const room = hookbox.subscribe("/r/");
    browser.subscribe("/r/");
    const again = room.publish(2, { key: "order-8" });
    assert.deepEqual(browser.sent("PUBLISH")[1][2], { channel_name: "/r/", payload: "2", key: "order-8" });
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH") }]);
    await again;
  });

  test("resolves on ACK and rejects on ERROR", async () => {
    browser.accept();
    const first = hookbox.publish("/a/", { text: "hi" });
    assert.deepEqual(browser.sent("PUBLISH")[0][2], { channel_name: "/a/", payload: '{"text":"hi"}' });
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH") }]);
    await first;
    const second = hookbox.publish("/a/", undefined);
    assert.equal(browser.sent("PUBLISH")[1][2].payload, "null");
    browser.deliver(["ERROR", { id: browser.idOf("PUBLISH"), msg: "Only staff", code: "refused" }]);
    await assert.rejects(second, (error) => {
      assert.ok(error instanceof HookboxError);
      assert.deepEqual([error.message, error.code], ["Only staff", "refused"]);
      return true;
    });
  });

  test("rejects what is no JSON, as any other reason", async () => {
    await assert.rejects(hookbox.publish("/a/", 1n), TypeError);
    const circle = {};
    circle.self = circle;
    await assert.rejects(hookbox.message("bob", circle), TypeError);
  });

  test("resolves when sent, if the server does not acknowledge", async () => {
    browser.accept("alice", {});
    await hookbox.publish("/a/", 1);
    assert.equal(browser.sent("PUBLISH").length, 1);
  });

  test("waits for the connection, in order", async () => {
    const promises = [hookbox.publish("/a/", 1), hookbox.message("bob", 2)];
    browser.accept();
    assert.deepEqual(
      browser.socket.sent.slice(1).map(([, name, args]) => [name, args.payload]),
      [["PUBLISH", "1"], ["MESSAGE", "2"]],
    );
    for (const [id] of browser.socket.sent.slice(1)) {
      browser.deliver(["ACK", { id }]);
    }
    await Promise.all(promises);
  });

  test("is not sent twice, nor late", async () => {
    browser.accept();
    const underway = hookbox.publish("/a/", 1);
    browser.drop(1006);
    await assert.rejects(underway, { code: "connection_lost" });
    const waiting = hookbox.publish("/a/", 2);
    browser.clock.pass(15_000);
    await assert.rejects(waiting, { code: "timeout" });
    browser.accept();
    assert.deepEqual(browser.sent("PUBLISH"), []);
    hookbox.disconnect();
    await assert.rejects(hookbox.publish("/a/", 3), { code: "closed" });
  });

  test("does not pile up without bound", async () => {
    const waiting = Array.from({ length: 100 }, () => hookbox.publish("/a/", 1));
    await assert.rejects(hookbox.publish("/a/", 1), { code: "limit" });
    hookbox.disconnect();
    const results = await Promise.allSettled(waiting);
    assert.ok(results.every((result) => result.reason?.code === "closed"));
    assert.equal(browser.clock.running, 0);
  });
});

describe("subscribing", () => {
  test("gives the snapshot, then what happens", () => {
    const room = hookbox.subscribe("/r/");
    const seen = record(room, "subscribed", "publish", "join", "leave", "presence", "state");
    browser.accept();
    assert.equal(room.status, "subscribing");
    const old = ["PUBLISH", { user: "bob", payload: 0, datetime: "t0" }];
    browser.subscribe("/r/", { history: [["SUBSCRIBE", { user: "bob" }], old], history_size: 3, presence: ["bob", "alice"], state: { a: 1 } });
    assert.equal(room.status, "subscribed");
    assert.deepEqual(room.messages, [old[1]]);
    browser.deliver(
      ["PUBLISH", { channel_name: "/r/", user: "bob", payload: 1, datetime: "t1" }],
      ["PUBLISH", { channel_name: "/r/", payload: 2, datetime: "t2" }],
      ["SUBSCRIBE", { channel_name: "/r/", user: "carol", datetime: "t3" }],
      ["SUBSCRIBE", { channel_name: "/r/", user: "carol", datetime: "t3" }],
      ["UNSUBSCRIBE", { channel_name: "/r/", user: "bob", datetime: "t4" }],
      ["STATE_UPDATE", { channel_name: "/r/", updates: { b: 2 }, deletes: ["a"] }],
      ["PUBLISH", { channel_name: "/elsewhere/", payload: 3 }],
    );
    assert.deepEqual(room.messages.map(({ payload }) => payload), [0, 1, 2]);
    assert.equal(room.history.length, 3, "the oldest entry has made room");
    assert.deepEqual(room.history.at(-1), ["PUBLISH", { payload: 2, datetime: "t2" }]);
    assert.deepEqual(room.presence, ["alice", "carol"]);
    assert.deepEqual({ ...room.state }, { b: 2 });
    assert.deepEqual(
      seen.map(([event]) => event),
      [
        ...["subscribed", "presence", "publish", "publish"],
        ...["join", "presence", "join", "presence", "leave", "presence", "state"],
      ],
    );
  });

  test("the state takes any key that a user thinks of", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.socket.onmessage({
      data: '[9,"SUBSCRIBE",{"channel_name":"/r/","user":"alice","state":{"__proto__":{"a":1},"constructor":2}}]\r\n',
    });
    assert.deepEqual(Object.keys(room.state), ["__proto__", "constructor"]);
    assert.equal(room.state.a, undefined);
    browser.deliver(["STATE_UPDATE", { channel_name: "/r/", updates: {}, deletes: ["__proto__"] }]);
    assert.deepEqual(Object.keys(room.state), ["constructor"]);
  });

  test("happens again after each reconnect, with a fresh snapshot", () => {
    const room = hookbox.subscribe("/r/");
    const left = hookbox.subscribe("/left/");
    browser.accept();
    browser.subscribe("/r/", { presence: ["alice", "bob"] });
    left.unsubscribe();
    browser.drop(1012);
    assert.equal(room.status, "waiting");
    browser.clock.pass(500);
    browser.accept();
    assert.deepEqual(browser.sent("SUBSCRIBE").map((frame) => frame[2].channel_name), ["/r/"]);
    browser.subscribe("/r/", { presence: ["alice"] });
    assert.deepEqual(room.presence, ["alice"]);
    assert.equal(hookbox.subscribe("/r/"), room);
  });

  test("the page of a site with DEBUG shows a refusal in the console, once, and no other page does", () => {
    for (const hint of [undefined, "Add a policy."]) {
      const warnings = [];
      const other = new FakeBrowser();
      const logger = { debug() {}, warn: (text) => warnings.push(text) };
      const config = hint ? { hint } : {};
      const text = JSON.stringify({ port: 8001, ...config });
      other.document.elements.set("djhookbox-config", { textContent: text });
      const page = connect({ environment: other.environment, logger });
      const room = page.subscribe("/news/today/");
      room.on("refused", () => {});
      for (let again = 0; again < 2; again += 1) {
        other.accept("alice");
        const id = other.idOf("SUBSCRIBE");
        other.deliver(["ERROR", { id, msg: "No policy opens this channel.", code: "refused" }]);
        assert.equal(room.status, "refused");
        other.drop(1006);
        other.clock.pass(60_000);
      }
      const expected = "hookbox: /news/today/: No policy opens this channel. Add a policy.";
      assert.deepEqual(warnings, hint ? [expected] : []);
    }
  });

  test("a refusal reaches the subscription with its reason, and can be asked again", () => {
    const room = hookbox.subscribe("/secret/");
    const seen = record(room, "refused", "subscribed");
    const errors = record(hookbox, "error");
    browser.accept();
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "No policy", code: "refused" }]);
    assert.equal(room.status, "refused");
    assert.deepEqual([seen[0][1].message, seen[0][1].code], ["No policy", "refused"]);
    assert.deepEqual(errors, []);
    room.subscribe();
    browser.subscribe("/secret/");
    assert.equal(seen[1][0], "subscribed");
  });

  test("a refusal that nobody listens to is in the console only while debugging", (context) => {
    const warned = context.mock.method(console, "warn", () => {});
    const debugged = context.mock.method(console, "debug", () => {});
    for (const debug of [false, true]) {
      connect({ environment: browser.environment, debug }).subscribe("/secret/");
      browser.accept();
      assert.equal(warned.mock.callCount(), 0);
      browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "No policy", code: "refused" }]);
    }
    const [text] = warned.mock.calls[0].arguments;
    assert.match(text, /^hookbox: No policy \(refused, see https:.*#errorcode-refused\)$/);
    assert.equal(warned.mock.callCount(), 1);
    assert.deepEqual(
      debugged.mock.calls.map((call) => call.arguments.filter((one) => typeof one === "string").join(" ")),
      ["hookbox > CONNECT", "hookbox < CONNECTED", "hookbox > SUBSCRIBE", "hookbox < ERROR"],
    );
  });

  test("is asked again by itself while the site is out of order", () => {
    const room = hookbox.subscribe("/r/");
    const seen = record(room, "refused");
    record(hookbox, "error");
    browser.accept();
    for (const wait of [500, 1000]) {
      browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "down", code: "unavailable" }]);
      const before = browser.sent("SUBSCRIBE").length;
      browser.clock.pass(wait);
      assert.equal(browser.sent("SUBSCRIBE").length, before + 1);
    }
    browser.subscribe("/r/");
    assert.equal(room.status, "subscribed");
    assert.deepEqual(seen, []);
    // Another day it begins with the shortest delay again; and a lost connection ends it.
    room.unsubscribe();
    room.subscribe();
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "down", code: "unavailable" }]);
    browser.clock.pass(500);
    assert.equal(browser.sent("SUBSCRIBE").length, 5);
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "down", code: "unavailable" }]);
    browser.drop(1012);
    browser.clock.pass(5000);
    browser.accept();
    assert.deepEqual(browser.socket.sent.map((frame) => frame[1]), ["CONNECT", "SUBSCRIBE"]);
  });

  test("is not asked again when the page does not want it any more", () => {
    const room = hookbox.subscribe("/r/");
    record(hookbox, "error");
    browser.accept();
    room.unsubscribe();
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "down", code: "unavailable" }]);
    browser.clock.pass(60_000);
    assert.equal(browser.sent("SUBSCRIBE").length, 1);
    assert.equal(room.status, "unsubscribed");
  });

  test("follows each change of mind, before any answer", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    room.unsubscribe();
    room.subscribe();
    assert.deepEqual(
      browser.socket.sent.slice(1).map((frame) => frame[1]),
      ["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"],
    );
  });

  test("nothing is heard after disconnect(), not even of what has arrived already", () => {
    const room = hookbox.subscribe("/r/");
    const seen = record(room, "subscribed", "publish");
    hookbox.on("connected", () => hookbox.disconnect());
    browser.socket.onopen({});
    browser.deliver(["CONNECTED", { name: "alice" }], ["SUBSCRIBE", subscribeArgs("/r/")]);
    assert.deepEqual(seen, []);
    assert.equal(hookbox.status, "closed");
  });

  test("by the site is seen too, and announced to a page that asks afterwards", async () => {
    const seen = record(hookbox, "subscribed");
    browser.accept();
    browser.deliver(["SUBSCRIBE", subscribeArgs("/auto/", { history: [["PUBLISH", { payload: 1 }]] })]);
    assert.equal(seen[0][1].channelName, "/auto/");
    const room = hookbox.subscribe("/auto/");
    const events = record(room, "subscribed");
    assert.deepEqual(browser.sent("SUBSCRIBE"), []);
    await Promise.resolve();
    assert.equal(events.length, 1);
  });

  test("what the site ends is told with the reason, and not contradicted", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    const seen = record(room, "unsubscribed");
    browser.deliver(["UNSUBSCRIBE", { channel_name: "/r/", user: "alice", reason: "policy" }]);
    assert.equal(seen[0][1].reason, "policy");
    browser.drop(1012);
    browser.clock.pass(500);
    browser.accept();
    assert.deepEqual(browser.sent("SUBSCRIBE"), []);
  });

  test("survives a change of mind", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    const seen = record(room, "unsubscribed", "subscribed");
    room.unsubscribe();
    room.subscribe();
    assert.equal(browser.sent("SUBSCRIBE").length, 2);
    browser.deliver(
      ["UNSUBSCRIBE", { channel_name: "/r/", user: "alice" }],
      ["ACK", { id: browser.idOf("UNSUBSCRIBE") }],
    );
    browser.subscribe("/r/");
    assert.deepEqual(seen.map(([event]) => event), ["subscribed"]);
    assert.equal(room.status, "subscribed");
  });

  test("a refused UNSUBSCRIBE leaves everything as it was", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    const seen = record(room, "unsubscribed");
    const errors = record(hookbox, "error");
    room.unsubscribe();
    browser.deliver(["ERROR", { id: browser.idOf("UNSUBSCRIBE"), msg: "Stay", code: "refused" }]);
    assert.equal(errors[0][1].message, "Stay");
    room.subscribe();
    browser.deliver(["UNSUBSCRIBE", { channel_name: "/r/", user: "alice", reason: "policy" }]);
    assert.equal(seen.length, 1, "a later end is an end");
  });

  test("names that are none are refused at once", () => {
    for (const name of ["", null, undefined, 7]) {
      assert.throws(() => hookbox.subscribe(name), TypeError);
    }
  });
});
