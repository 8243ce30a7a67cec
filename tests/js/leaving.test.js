import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";

import { connect } from "../../djhookbox/static/djhookbox/hookbox.js";
import { FakeBrowser, record, subscribeArgs } from "./fakes.js";

let browser;
let hookbox;

beforeEach(() => {
  browser = new FakeBrowser();
  hookbox = connect({ environment: browser.environment });
});

describe("leaving", () => {
  test("and coming back, twice before any answer, ends inside", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    for (const _ of [1, 2]) {
      room.unsubscribe();
      room.subscribe();
    }
    const [first, second] = browser.sent("UNSUBSCRIBE").map(([id]) => id);
    const [, third, fourth] = browser.sent("SUBSCRIBE").map(([id]) => id);
    const gone = ["UNSUBSCRIBE", { channel_name: "/r/", user: "alice" }];
    const back = ["SUBSCRIBE", subscribeArgs("/r/")];
    const seen = record(room, "unsubscribed");
    browser.deliver(gone, ["ACK", { id: first }], back, ["ACK", { id: third }]);
    browser.deliver(gone, ["ACK", { id: second }], back, ["ACK", { id: fourth }]);
    assert.equal(room.status, "subscribed");
    assert.deepEqual(seen, []);
    browser.drop(1006);
    browser.clock.pass(500);
    browser.accept();
    assert.equal(browser.sent("SUBSCRIBE").length, 1);
    browser.deliver(back, ["UNSUBSCRIBE", { channel_name: "/r/", user: "alice" }]);
    assert.equal(seen.length, 1, "nothing is left over");
  });

  test("and coming back before the answer loses nothing, and tells no gap that is none", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1 });
    const seen = record(room, "publish", "gap", "unsubscribed");
    const message = (offset) => ({ payload: offset, datetime: "t", offset });
    for (const _ of [1, 2]) {
      room.unsubscribe();
      room.subscribe();
    }
    const leaves = browser.sent("UNSUBSCRIBE");
    const [, second, third] = browser.sent("SUBSCRIBE");
    assert.deepEqual([second[2].since, third[2].since], ["a:1", "a:1"]);
    const snapshot = (offset, numbers, missed) =>
      subscribeArgs("/r/", { epoch: "a", offset, recovered: numbers.map(message), missed });
    browser.deliver(["PUBLISH", { channel_name: "/r/", ...message(2) }]);
    for (const args of [snapshot(3, [2, 3], 0), snapshot(5, [4, 5], 2)]) {
      const id = leaves.shift()[0];
      browser.deliver(["UNSUBSCRIBE", { channel_name: "/r/", user: "alice" }], ["ACK", { id }], ["SUBSCRIBE", args]);
    }
    assert.deepEqual(seen.map(([event, detail]) => (event === "publish" ? detail.payload : event)), [2, 3, 4, 5]);
  });

  test("holes behind it are not asked for, which would subscribe again", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1 });
    room.unsubscribe();
    browser.deliver(["PUBLISH", { channel_name: "/r/", payload: 9, offset: 9 }]);
    assert.equal(browser.sent("SUBSCRIBE").length, 1);
    // The site wants the page to stay: then it takes up where it was.
    browser.deliver(["ERROR", { id: browser.idOf("UNSUBSCRIBE"), msg: "Stay", code: "refused" }]);
    browser.deliver(["PUBLISH", { channel_name: "/r/", payload: 10, offset: 10 }]);
    assert.equal(browser.sent("SUBSCRIBE")[1][2].since, "a:1");
  });

  test("ends a loop also if the connection is lost before the answer", async () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    const next = room[Symbol.asyncIterator]().next();
    const seen = record(hookbox, "unsubscribed");
    room.unsubscribe();
    browser.drop(1006);
    assert.deepEqual(await next, { value: undefined, done: true });
    assert.equal(room.status, "unsubscribed");
    assert.equal(seen.length, 1);
  });

  test("also if the subscription is refused meanwhile", async () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    const next = room[Symbol.asyncIterator]().next();
    room.unsubscribe();
    browser.deliver(
      ["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "No", code: "refused" }],
      ["ACK", { id: browser.idOf("UNSUBSCRIBE") }],
    );
    assert.deepEqual(await next, { value: undefined, done: true });
  });

  test("is told by the connection as well where there is none", () => {
    const seen = record(hookbox, "unsubscribed");
    hookbox.subscribe("/r/").unsubscribe();
    assert.equal(seen.length, 1);
  });
});
