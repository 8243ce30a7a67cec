/** Parts of a page that share a connection and its subscriptions, and scripts that run again. */

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { connect } from "../../djhookbox/static/djhookbox/hookbox.js";
import { connect as connectAsIn2011 } from "../../djhookbox/static/djhookbox/legacy.js";
import { FakeBrowser, record, subscribeArgs } from "./fakes.js";

let browser;
let hookbox;

beforeEach(() => {
  browser = new FakeBrowser();
  hookbox = connect({ environment: browser.environment });
});

const own = (channel_name = "/r/") => ({ channel_name, user: "alice" });
const publish = (payload) => ["PUBLISH", { channel_name: "/r/", payload }];
const payloads = (seen) => seen.map(([, { payload }]) => payload);

/** Confirm the last UNSUBSCRIBE. */
function left() {
  browser.deliver(["UNSUBSCRIBE", own()], ["ACK", { id: browser.idOf("UNSUBSCRIBE") }]);
}

describe("subscribing several times", () => {
  test("is one subscription, left with the last unsubscribe()", () => {
    const room = hookbox.subscribe("/r/");
    assert.equal(hookbox.subscribe("/r/"), room);
    browser.accept();
    browser.subscribe("/r/");
    const seen = record(room, "publish");
    room.unsubscribe();
    assert.deepEqual(browser.sent("UNSUBSCRIBE"), []);
    browser.deliver(publish(1));
    hookbox.unsubscribe("/r/");
    assert.equal(browser.sent("UNSUBSCRIBE").length, 1);
    browser.deliver(publish(2));
    left();
    assert.deepEqual(payloads(seen), [1]);
    room.unsubscribe();
    assert.equal(browser.sent("UNSUBSCRIBE").length, 1, "too often is no harm");
  });

  test("as React's StrictMode does ends inside, without the listeners of before", () => {
    browser.accept();
    const effect = () => {
      const room = hookbox.subscribe("/r/");
      const seen = record(room, "publish");
      return { seen, cleanUp: () => room.unsubscribe() };
    };
    const first = effect();
    first.cleanUp();
    const second = effect();
    browser.subscribe("/r/");
    left();
    browser.subscribe("/r/");
    browser.deliver(publish(1));
    assert.deepEqual([payloads(first.seen), payloads(second.seen)], [[], [1]]);
  });

  test("takes a signal back, and listeners as well", () => {
    browser.accept();
    const one = new AbortController();
    const two = new AbortController();
    const room = hookbox.subscribe("/r/", { signal: one.signal });
    hookbox.subscribe("/r/", { signal: two.signal });
    browser.subscribe("/r/");
    const seen = [];
    const listener = ({ payload }) => seen.push(payload);
    room.on("publish", listener, { signal: one.signal });
    room.on("publish", listener, { signal: two.signal });
    room.on("publish", listener, { signal: AbortSignal.abort() });
    browser.deliver(publish(1));
    one.abort();
    browser.deliver(publish(2));
    assert.deepEqual(browser.sent("UNSUBSCRIBE"), []);
    two.abort();
    browser.deliver(publish(3));
    assert.deepEqual(seen, [1, 2], "each once, as long as somebody wants it");
    assert.equal(browser.sent("UNSUBSCRIBE").length, 1);
    hookbox.subscribe("/other/", { signal: one.signal });
    assert.equal(hookbox.getSubscription("/other/"), undefined);
  });

  test("is undone once each, whether by unsubscribe(), by a signal, or by both", () => {
    const inside = () => browser.sent("UNSUBSCRIBE").length === 0;
    for (const [what, steps, stays] of [
      ["both ways of one part do not end another's", "a b a-unsubscribe a-abort", true],
      ["also if that has no signal, and began later", "a a-unsubscribe plain a-abort", true],
      ["each part in its own way", "a plain unsubscribe a-abort", false],
      ["each in its own way, the signal first", "a plain a-abort unsubscribe", false],
      ["all by both ways", "a b a-unsubscribe b-unsubscribe a-abort b-abort", false],
      ["the other's signal comes first", "a b a-unsubscribe b-abort a-abort", false],
      ["a signal that was aborted before counts for nothing", "a gone a-abort", false],
      ["nor does it end what others hold", "plain gone", true],
      ["the same signal twice", "a a a-abort", false],
    ]) {
      browser = new FakeBrowser();
      hookbox = connect({ environment: browser.environment });
      browser.accept();
      const signals = { a: new AbortController(), b: new AbortController() };
      let room;
      for (const step of steps.split(" ")) {
        const [name, action] = step.split("-");
        if (action === "abort") {
          signals[name].abort();
        } else if (action ?? name === "unsubscribe") {
          room.unsubscribe();
        } else {
          const { signal } = name === "gone" ? { signal: AbortSignal.abort() } : (signals[name] ?? {});
          const before = room?.status;
          room = hookbox.subscribe("/r/", { signal });
          if (before === undefined) {
            browser.subscribe("/r/");
          }
        }
      }
      assert.equal(room.handles > 0, stays, `${what}: ${steps}`);
      assert.equal(room.wanted, stays, `${what}: ${steps}`);
      assert.ok(inside() || steps.includes("plain") || !stays, what);
    }
  });

  test("with an aborted signal does not leave what the site subscribed to", () => {
    browser.accept();
    browser.deliver(["SUBSCRIBE", subscribeArgs("/r/")]);
    hookbox.subscribe("/r/", { signal: AbortSignal.abort() });
    assert.equal(hookbox.getSubscription("/r/").status, "subscribed");
    assert.deepEqual(browser.sent("UNSUBSCRIBE"), []);
  });

  test("counts no more than once what `room.subscribe()` asks for again", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "No", code: "refused" }]);
    room.subscribe();
    browser.subscribe("/r/");
    room.unsubscribe();
    assert.equal(room.status, "leaving");
  });
});

test("a listener is called once, in the order in which it came, however often it was added", () => {
  browser.accept();
  const room = hookbox.subscribe("/r/");
  browser.subscribe("/r/");
  const called = [];
  const [first, second] = ["first", "second"].map((name) => () => called.push(name));
  const gone = new AbortController();
  room.on("publish", first).on("publish", second).on("publish", first).on("publish", first, gone);
  browser.deliver(publish(1));
  gone.abort();
  browser.deliver(publish(2));
  room.off("publish", first);
  browser.deliver(publish(3));
  assert.deepEqual(called, ["first", "second", "first", "second", "second"]);
});

describe("a channel that was left", () => {
  test("is not kept: whoever subscribes again gets another subscription", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    room.unsubscribe();
    left();
    assert.equal(hookbox.getSubscription("/r/"), undefined);
    const again = hookbox.subscribe("/r/");
    assert.notEqual(again, room);
    assert.equal(room.subscribe(), again, "the channel has one");
    assert.deepEqual(room.history, []);
  });

  test("takes up with whoever still holds its subscription", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    room.unsubscribe();
    left();
    assert.equal(room.subscribe(), room);
    browser.subscribe("/r/");
    assert.equal(hookbox.getSubscription("/r/"), room);
    assert.equal(room.status, "subscribed");
  });

  test("is asked to be left again where the site was out of order", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    room.unsubscribe();
    browser.deliver(["ERROR", { id: browser.idOf("UNSUBSCRIBE"), msg: "Later", code: "unavailable" }]);
    assert.equal(room.status, "leaving");
    browser.clock.pass(1000);
    assert.equal(browser.sent("UNSUBSCRIBE").length, 2);
    left();
    assert.equal(room.status, "unsubscribed");
  });
});

describe("a subscription that another page of the user ended and made again", () => {
  test("survives the next interruption", () => {
    const room = hookbox.subscribe("/r/");
    const seen = record(room, "unsubscribed", "subscribed", "publish");
    browser.accept();
    browser.subscribe("/r/");
    // A page of 2011 leaves and comes back, for all pages of the user.
    browser.deliver(["UNSUBSCRIBE", own()], ["SUBSCRIBE", subscribeArgs("/r/")]);
    browser.drop(1006);
    browser.clock.pass(1000);
    browser.accept();
    browser.subscribe("/r/");
    browser.deliver(publish(1));
    assert.equal(room.status, "subscribed");
    assert.deepEqual(
      seen.map(([event]) => event),
      ["subscribed", "unsubscribed", "subscribed", "subscribed", "publish"],
    );
  });

  test("made by the site alone comes back as well, or its end is told", () => {
    browser.accept();
    browser.deliver(["SUBSCRIBE", subscribeArgs("/auto/")]);
    const room = hookbox.getSubscription("/auto/");
    const seen = record(room, "refused", "unsubscribed");
    browser.drop(1006);
    browser.clock.pass(1000);
    browser.accept();
    assert.equal(browser.sent("SUBSCRIBE")[0][2].channel_name, "/auto/");
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "No", code: "refused" }]);
    assert.equal(seen.length, 1);
  });
});

describe("connect(), called again by the same page", () => {
  const again = (options = {}) => connect({ environment: browser.environment, ...options });
  const print = (config) =>
    browser.document.elements.set("djhookbox-config", [
      ...(browser.document.elements.get("djhookbox-config") ?? []),
      { textContent: JSON.stringify(config) },
    ]);

  test("returns its one connection, and connects it", () => {
    assert.equal(again(), hookbox);
    assert.equal(again(), hookbox);
    assert.equal(browser.sockets.length, 1);
    hookbox.disconnect();
    assert.equal(again(), hookbox);
    assert.equal(browser.sockets.length, 2);
  });

  test("makes another for other options, and functions are the same if they read the same", () => {
    const token = () => "a";
    const other = again({ token: () => "a" });
    assert.notEqual(other, hookbox);
    assert.equal(again({ token }), other);
    assert.notEqual(again({ payload: 1 }), other);
    assert.notEqual(again({ url: "http://other" }), hookbox);
  });

  test("makes another for another user, where no page is loaded in between", () => {
    const options = { token: () => "a" };
    const alice = again({ ...options, user: "alice" });
    alice.disconnect();
    const bob = again({ ...options, user: "bob" });
    assert.notEqual(bob, alice);
    assert.equal(again({ ...options, user: "bob" }), bob);
  });

  test("takes over a newer token and newer cursors", async () => {
    print({ port: 8001, token: "old" });
    assert.equal(again(), hookbox);
    browser.accept();
    print({ port: 8001, token: "new", cursors: { "/r/": "a:7" } });
    assert.equal(again(), hookbox);
    hookbox.subscribe("/r/");
    assert.equal(browser.sent("SUBSCRIBE")[0][2].since, "a:7");
    browser.drop(1006);
    browser.clock.pass(1000);
    browser.socket.onopen({});
    assert.equal(browser.sent("CONNECT")[0][2].token, "new");
  });

  test("never goes on as the user that the page was made for before", () => {
    browser.accept();
    const seen = record(hookbox, "disconnected");
    print({ port: 8001, user: "bob" });
    const bob = again();
    assert.notEqual(bob, hookbox);
    assert.equal(hookbox.status, "closed");
    assert.equal(seen.length, 1);
    assert.equal(again(), bob);
    browser.socket.onopen({});
    assert.equal("expect_user" in browser.sent("CONNECT")[0][2], false);
  });

  test("leaves a page of 2011 the connections it asks for", () => {
    browser.accept();
    const saved = globalThis.document;
    try {
      Object.assign(globalThis, { ...browser.environment, setTimeout, clearTimeout, fetch });
      const [old, other] = [1, 2].map(() => connectAsIn2011("http://localhost:8001"));
      assert.notEqual(other, old);
      browser.socket.onopen({});
      assert.equal("per_connection_subscriptions" in browser.sent("CONNECT")[0][2], false);
      const today = connectAsIn2011();
      assert.equal(connectAsIn2011(), today);
      [old, other, today].forEach((one) => one.disconnect());
    } finally {
      globalThis.document = saved;
    }
  });
});

test("a page of 2011 leaves at once, however often it has subscribed", () => {
  const old = connectAsIn2011({ environment: browser.environment, payload: 1 });
  const room = old.subscribe("/r/");
  old.subscribe("/r/");
  browser.accept();
  browser.subscribe("/r/");
  room.cancel();
  assert.equal(browser.sent("UNSUBSCRIBE").length, 1);
});
