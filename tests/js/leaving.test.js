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
