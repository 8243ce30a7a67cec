/** Nothing is told to a page that has left, and nobody waits for what will not come. */

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

const EVENTS = ["publish", "gap", "join", "leave", "presence", "state", "subscribed", "refused"];
const message = (offset) => ({ payload: offset, datetime: "t", offset });

/** A channel from which a snapshot with `recovered` is under way. */
function returning() {
  const room = hookbox.subscribe("/r/");
  browser.accept();
  browser.subscribe("/r/", { epoch: "a", offset: 1 });
  browser.drop(1006);
  browser.clock.pass(1000);
  browser.accept();
  return room;
}

const replay = (numbers, missed = 0) =>
  browser.subscribe("/r/", { epoch: "a", offset: numbers.at(-1), recovered: numbers.map(message), missed });

for (const [what, leave] of [
  ["unsubscribe()", (room) => room.unsubscribe()],
  ["disconnect()", () => hookbox.disconnect()],
]) {
  describe(`after ${what}`, () => {
    for (const when of ["gap", "publish"]) {
      test(`in the middle of a replay, at its ${when}, nobody is called`, () => {
        const room = returning();
        let gone = false;
        const late = [];
        room.on(when, () => {
          leave(room);
          gone = true;
        });
        for (const event of EVENTS) {
          room.on(event, () => gone && late.push(event));
        }
        hookbox.on("subscribed", () => gone && late.push("subscribed of the connection"));
        replay([4, 5, 6], 2);
        browser.socket.onmessage?.({ data: '[1,"PUBLISH",{"channel_name":"/r/","payload":7,"offset":7}]\r\n' });
        assert.equal(gone, true);
        assert.deepEqual(late, []);
      });
    }

    test("nobody is called with what arrives later", () => {
      const room = hookbox.subscribe("/r/");
      browser.accept();
      browser.subscribe("/r/", { presence: ["alice"] });
      leave(room);
      const seen = record(room, ...EVENTS);
      const frame = (name, more) => [name, { channel_name: "/r/", user: "bob", ...more }];
      browser.deliver(
        frame("PUBLISH", { payload: 1 }),
        frame("SUBSCRIBE"),
        frame("UNSUBSCRIBE"),
        frame("STATE_UPDATE", { updates: { a: 1 }, deletes: [] }),
        ["SUBSCRIBE", subscribeArgs("/r/")],
      );
      assert.deepEqual(seen, []);
    });

    test("before the answer to a second subscribe(), nobody is called either", async () => {
      const room = hookbox.subscribe("/r/");
      browser.accept();
      browser.subscribe("/r/");
      room.subscribe();
      leave(room);
      const seen = record(room, ...EVENTS);
      await null;
      assert.deepEqual(seen, []);
    });
  });
}

test("what a page did not hear before disconnect() it hears after connect()", () => {
  const room = returning();
  const heard = [];
  room.on("publish", ({ payload }) => {
    heard.push(payload);
    payload === 3 && hookbox.disconnect();
  });
  replay([2, 3, 4]);
  hookbox.connect();
  browser.accept();
  assert.equal(browser.sent("SUBSCRIBE")[0][2].since, "a:3");
  replay([4]);
  assert.deepEqual(heard, [2, 3, 4]);
});

test("a listener that was removed by another is not called", () => {
  const room = hookbox.subscribe("/r/");
  browser.accept();
  browser.subscribe("/r/");
  const late = [];
  const second = () => late.push("second");
  room.on("publish", () => room.off("publish", second));
  room.on("publish", second);
  browser.deliver(["PUBLISH", { channel_name: "/r/", payload: 1 }]);
  assert.deepEqual(late, []);
});

test("an interruption of a channel without numbers is told as a gap, and only that", () => {
  const room = hookbox.subscribe("/r/");
  const seen = record(room, "gap");
  browser.accept();
  browser.subscribe("/r/");
  browser.deliver(["SUBSCRIBE", subscribeArgs("/r/")]);
  assert.deepEqual(seen, []);
  browser.drop(1006);
  browser.clock.pass(1000);
  browser.accept();
  browser.subscribe("/r/");
  assert.deepEqual(seen, [["gap", { missed: null, channel: "/r/" }]]);
});

describe("a subscription's status", () => {
  test("is told whenever it changes", () => {
    const room = hookbox.subscribe("/r/");
    const seen = record(room, "status");
    browser.accept();
    browser.subscribe("/r/");
    room.unsubscribe();
    room.subscribe();
    room.unsubscribe();
    browser.drop(1006);
    assert.deepEqual(
      seen.map(([, status]) => status),
      ["subscribing", "subscribed", "leaving", "subscribing", "leaving", "unsubscribed"],
    );
  });

  test("cannot be set", () => {
    const room = hookbox.subscribe("/r/");
    assert.throws(() => {
      room.status = "subscribed";
    }, TypeError);
  });

  test("is subscribed again if the site does not let the page leave", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    const seen = record(room, "status", "gap");
    room.unsubscribe();
    browser.deliver(["ERROR", { id: browser.idOf("UNSUBSCRIBE"), msg: "Stay", code: "refused" }]);
    assert.deepEqual(seen.map(([event, detail]) => detail.missed === null ? event : detail), ["leaving", "subscribed", "gap"]);
  });
});

describe("ready", () => {
  test("is resolved when subscribed, now or later", async () => {
    const room = hookbox.subscribe("/r/");
    const { ready } = room;
    browser.accept();
    browser.subscribe("/r/");
    assert.equal(await ready, room);
    assert.equal(await room.ready, room);
  });

  test("is rejected with what the subscription is refused with", async () => {
    const room = hookbox.subscribe("/r/");
    const { ready } = room;
    browser.accept();
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "No policy", code: "refused" }]);
    await assert.rejects(ready, { message: "No policy", code: "refused" });
    await assert.rejects(room.ready, { message: "No policy" });
  });

  test("is rejected with what the connection is refused with, and where it is closed", async () => {
    const room = hookbox.subscribe("/r/");
    const { ready } = room;
    browser.socket.onopen({});
    browser.deliver(["ERROR", { id: 1, msg: "Not you", code: "refused" }]);
    await assert.rejects(ready, { message: "Not you" });
    await assert.rejects(room.ready, { message: "Not you" });
    hookbox.connect();
    const again = room.ready;
    hookbox.disconnect();
    await assert.rejects(again, { code: "closed" });
    room.unsubscribe();
    await assert.rejects(room.ready, { code: "closed" });
  });
});

describe("for await", () => {
  const next = (room) => room[Symbol.asyncIterator]().next();

  test("ends with disconnect(), before and after", async () => {
    const room = hookbox.subscribe("/r/");
    const waiting = next(room);
    browser.accept();
    browser.subscribe("/r/");
    const subscribed = next(room);
    hookbox.disconnect();
    for (const one of [waiting, subscribed, next(room)]) {
      assert.deepEqual(await one, { value: undefined, done: true });
    }
  });

  test("throws what the connection was refused with", async () => {
    const room = hookbox.subscribe("/r/");
    const waiting = next(room);
    browser.socket.onopen({});
    browser.deliver(["ERROR", { id: 1, msg: "Not you", code: "refused" }]);
    await assert.rejects(waiting, { message: "Not you" });
    await assert.rejects(next(room), { message: "Not you" });
  });

  test("ends when the site sends the page away, and outlives an interruption", async () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/");
    const waiting = next(room);
    browser.drop(1006);
    browser.clock.pass(1000);
    browser.accept();
    browser.subscribe("/r/");
    browser.drop(4500);
    assert.equal((await waiting).done, true);
  });
});

test("proxies of frameworks leave our objects alone: to them they are no plain ones", () => {
  const room = hookbox.subscribe("/r/");
  for (const one of [hookbox, room, room[Symbol.asyncIterator]()]) {
    assert.notEqual(Object.prototype.toString.call(one), "[object Object]");
  }
});
