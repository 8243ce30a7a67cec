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

const message = (offset) => ({ payload: offset, datetime: `t${offset}`, offset });
const publish = (offset, extra = {}) => ["PUBLISH", { channel_name: "/r/", ...message(offset), ...extra }];
const payloads = (seen) => seen.map(([event, detail]) => (event === "publish" ? detail.payload : event));

/** Lose the connection and come back. */
function interrupt() {
  const before = browser.sockets.length;
  browser.drop(1006);
  while (browser.sockets.length === before) {
    browser.clock.pass(500);
  }
  browser.accept();
}

describe("resuming", () => {
  test("asks for what came since, holds back what the snapshot has, and goes on", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 3 });
    assert.equal(room.recovered, false);
    const seen = record(room, "publish", "gap", "subscribed");
    browser.deliver(publish(4));
    interrupt();
    assert.deepEqual(browser.sent("SUBSCRIBE").map((frame) => frame[2]), [{ channel_name: "/r/", since: "a:4" }]);
    browser.deliver(publish(7));
    browser.subscribe("/r/", {
      epoch: "a", offset: 7, recovered: [5, 6, 7].map(message), missed: 0,
      history: [5, 6, 7].map((n) => ["PUBLISH", message(n)]), history_size: 9,
    });
    assert.equal(room.recovered, true);
    assert.equal(room.messages.length, 3, "not entered twice");
    browser.deliver(publish(7), publish(8));
    assert.deepEqual(payloads(seen), [4, 5, 6, 7, "subscribed", 8]);
    assert.equal(seen[1][1].channel_name, "/r/");
  });

  test("tells a gap before what is left", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 3 });
    const seen = record(room, "publish", "gap", "subscribed");
    interrupt();
    browser.subscribe("/r/", { epoch: "a", offset: 9, recovered: [8, 9].map(message), missed: 4 });
    assert.equal(room.recovered, false);
    interrupt();
    browser.subscribe("/r/", { epoch: "b", offset: 1, recovered: [message(1)], missed: null });
    assert.deepEqual(payloads(seen), ["gap", 8, 9, "subscribed", "gap", 1, "subscribed"]);
    assert.deepEqual(seen[0][1], { missed: 4, channel: "/r/" });
    assert.deepEqual(seen[4][1], { missed: null, channel: "/r/" });
    interrupt();
    assert.equal(browser.sent("SUBSCRIBE")[0][2].since, "b:1");
  });

  test("an interruption before the snapshot changes nothing", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 3 });
    const seen = record(room, "publish");
    interrupt();
    browser.deliver(publish(5));
    interrupt();
    assert.equal(browser.sent("SUBSCRIBE")[0][2].since, "a:3");
    browser.subscribe("/r/", { epoch: "a", offset: 5, recovered: [4, 5].map(message), missed: 0 });
    assert.deepEqual(payloads(seen), [4, 5]);
  });

  test("of all channels takes one frame, or a few of 256", () => {
    const names = Array.from({ length: 300 }, (_, number) => `/r/${number}/`);
    const rooms = names.map((name) => hookbox.subscribe(name));
    browser.accept();
    const frames = browser.sent("SUBSCRIBE");
    assert.deepEqual(frames.map((frame) => frame[2].channels.length), [256, 44]);
    browser.deliver(["SUBSCRIBE", subscribeArgs("/r/7/", { epoch: "a", offset: 2 })]);
    interrupt();
    assert.deepEqual(browser.sent("SUBSCRIBE")[0][2].channels.slice(6, 8), [
      { channel_name: "/r/6/" },
      { channel_name: "/r/7/", since: "a:2" },
    ]);
    assert.equal(rooms[7].status, "subscribing");
  });

  test("with the genuine server takes a frame for each channel", () => {
    hookbox.subscribe("/a/");
    hookbox.subscribe("/b/");
    browser.accept("alice", {});
    assert.deepEqual(browser.sent("SUBSCRIBE").map((frame) => frame[2].channel_name), ["/a/", "/b/"]);
    browser.clock.pass(60_000);
    assert.deepEqual(browser.socket.pings, [], "it would not survive them");
  });

  test("a refusal of one channel leaves the others alone", () => {
    const [a, b, c] = ["/a/", "/b/", "/c/"].map((name) => hookbox.subscribe(name));
    const seen = record(b, "refused");
    const errors = record(hookbox, "error");
    browser.accept();
    const id = browser.idOf("SUBSCRIBE");
    browser.deliver(
      ["SUBSCRIBE", subscribeArgs("/a/")],
      ["ERROR", { id, channel_name: "/b/", msg: "Not you", code: "refused" }],
      ["ERROR", { id, channel_name: "/c/", msg: "Later", code: "unavailable" }],
      ["ACK", { id }],
    );
    assert.deepEqual([a.status, b.status, c.status], ["subscribed", "refused", "waiting"]);
    assert.equal(seen[0][1].message, "Not you");
    assert.deepEqual(errors.map(([, error]) => error.code), ["unavailable"]);
    browser.clock.pass(500);
    assert.deepEqual(browser.sent("SUBSCRIBE").at(-1)[2], { channel_name: "/c/" });
  });

  test("what is refused together for the moment is asked for again together", () => {
    record(hookbox, "error");
    hookbox.subscribe("/a/");
    hookbox.subscribe("/b/");
    browser.accept();
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "down", code: "unavailable" }]);
    browser.clock.pass(500);
    assert.equal(browser.sent("SUBSCRIBE").length, 2);
    assert.equal(browser.sent("SUBSCRIBE")[1][2].channels.length, 2);
  });

  test("begins at the cursor that the template tag printed, once", () => {
    const config = { port: 9009, cursors: { "/r/": "a:5", "/none/": "" } };
    browser.document.elements.set("djhookbox-config", { textContent: JSON.stringify(config) });
    hookbox = connect({ environment: browser.environment });
    const room = hookbox.subscribe("/r/");
    hookbox.subscribe("/none/");
    const seen = record(room, "publish", "gap", "subscribed");
    browser.accept();
    assert.deepEqual(browser.sent("SUBSCRIBE")[0][2].channels, [
      { channel_name: "/r/", since: "a:5" },
      { channel_name: "/none/" },
    ]);
    browser.deliver(["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 6, recovered: [message(6)], missed: 0 })]);
    assert.deepEqual(payloads(seen), [6, "subscribed"]);
    room.unsubscribe();
    browser.deliver(["UNSUBSCRIBE", { channel_name: "/r/", user: "alice" }]);
    hookbox.subscribe("/r/");
    assert.deepEqual(browser.sent("SUBSCRIBE").at(-1)[2], { channel_name: "/r/" });
  });

  test("or at the one that the page has", () => {
    hookbox.subscribe("/r/", { since: "a:5" });
    browser.accept();
    assert.deepEqual(browser.sent("SUBSCRIBE")[0][2], { channel_name: "/r/", since: "a:5" });
  });

  test("a hole in what arrives is asked for, whatever made it", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1 });
    const seen = record(room, "publish", "gap");
    browser.deliver(publish(2), publish(4), publish(5));
    assert.deepEqual(browser.sent("SUBSCRIBE").slice(1).map((frame) => frame[2].since), ["a:2"]);
    assert.equal(room.status, "subscribed");
    browser.subscribe("/r/", { epoch: "a", offset: 5, recovered: [3, 4, 5].map(message), missed: 0 });
    assert.deepEqual(payloads(seen), [2, 3, 4, 5]);
  });

  test("a channel that the site subscribed the user to is taken up as well", () => {
    browser.accept();
    browser.deliver(["SUBSCRIBE", subscribeArgs("/auto/", { epoch: "a", offset: 1 })]);
    const seen = record(hookbox.getSubscription("/auto/"), "publish");
    interrupt();
    browser.deliver(["SUBSCRIBE", subscribeArgs("/auto/", { epoch: "a", offset: 3 })]);
    assert.deepEqual(browser.sent("SUBSCRIBE")[0][2], { channel_name: "/auto/", since: "a:1" });
    browser.subscribe("/auto/", { epoch: "a", offset: 3, recovered: [2, 3].map(message), missed: 0 });
    assert.deepEqual(payloads(seen), [2, 3]);
  });

  test("the own message that does not come back is no hole", async () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1 });
    const seen = record(room, "publish");
    const promise = room.publish(2);
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH"), offset: 2 }], publish(3));
    await promise;
    assert.deepEqual(payloads(seen), [3]);
    assert.equal(browser.sent("SUBSCRIBE").length, 1);
  });

  test("a new epoch is learnt from the ACK of a message that does not come back", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 4 });
    const seen = record(room, "publish", "gap");
    room.publish("mine").catch(() => {});
    browser.deliver(["ACK", { id: browser.idOf("PUBLISH"), offset: 1, epoch: "b" }], publish(2));
    assert.deepEqual(payloads(seen), [2]);
    interrupt();
    assert.equal(browser.sent("SUBSCRIBE")[0][2].since, "b:2");
  });

  test("a snapshot made for others is passed over while the own is awaited", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1 });
    const seen = record(room, "publish", "subscribed", "gap");
    const all = record(hookbox, "subscribed");
    interrupt();
    const history = [["PUBLISH", { payload: 2 }]];
    browser.deliver(["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 2, history })]);
    assert.equal(room.status, "subscribing");
    browser.subscribe("/r/", { epoch: "a", offset: 2, history, recovered: [{ payload: 2, offset: 2 }], missed: 0 });
    assert.deepEqual(payloads(seen), [2, "subscribed"]);
    assert.equal(room.recovered, true);
    assert.equal(all.length, 1);
  });

  test("a server that cannot resume is not asked to", () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 1 });
    const seen = record(room, "publish", "subscribed", "gap");
    browser.drop(1006);
    browser.clock.pass(1000);
    browser.accept("alice", {});
    assert.deepEqual(browser.sent("SUBSCRIBE")[0][2], { channel_name: "/r/" });
    browser.deliver(["SUBSCRIBE", subscribeArgs("/r/")]);
    assert.deepEqual(payloads(seen), ["gap", "subscribed"]);
  });

  test("that is refused as a whole is asked for in parts: one bad name spoils nothing", () => {
    const rooms = ["/a/", "/b/", "/bad/", "/d/"].map((name) => hookbox.subscribe(name));
    const seen = record(rooms[2], "refused");
    browser.accept();
    for (let answered = 0; answered < browser.sent("SUBSCRIBE").length; answered += 1) {
      const [id, , args] = browser.sent("SUBSCRIBE")[answered];
      const wanted = (args.channels ?? [args]).map((one) => one.channel_name);
      if (wanted.includes("/bad/")) {
        browser.deliver(["ERROR", { id, msg: "No name", code: "malformed" }]);
      } else {
        browser.deliver(...wanted.map((name) => ["SUBSCRIBE", subscribeArgs(name)]), ["ACK", { id }]);
      }
    }
    assert.deepEqual(rooms.map((room) => room.status), ["subscribed", "subscribed", "refused", "subscribed"]);
    assert.equal(seen.length, 1);
  });

  test("that is too large for the server is halved", () => {
    const errors = record(hookbox, "error");
    const rooms = Array.from({ length: 8 }, (_, number) => hookbox.subscribe(`/${number}/`));
    browser.accept();
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "more than 4 members", code: "limit" }]);
    assert.deepEqual(browser.sent("SUBSCRIBE").map((frame) => frame[2].channels.length), [8, 4, 4]);
    assert.ok(rooms.every((room) => room.status === "subscribing"));
    assert.deepEqual(errors, []);
  });
});

describe("for await", () => {
  test("gives the messages, the gap before one, and ends with the subscription", async () => {
    const room = hookbox.subscribe("/r/");
    const heard = [];
    const loop = (async () => {
      for await (const { payload, missed } of room) {
        heard.push(missed === undefined ? payload : [payload, missed]);
      }
    })();
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 0 });
    browser.deliver(publish(1), publish(2));
    interrupt();
    browser.subscribe("/r/", { epoch: "a", offset: 9, recovered: [8, 9].map(message), missed: 5 });
    browser.deliver(publish(10));
    room.unsubscribe();
    browser.deliver(["UNSUBSCRIBE", { channel_name: "/r/", user: "alice" }]);
    await loop;
    assert.deepEqual(heard, [1, 2, [8, 5], 9, 10]);
  });

  test("throws what the subscription is refused with", async () => {
    const room = hookbox.subscribe("/r/");
    const next = room[Symbol.asyncIterator]().next();
    browser.accept();
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "No", code: "refused" }]);
    await assert.rejects(next, { code: "refused" });
  });

  test("ends with a loop that is left, and with what a slow one has lost", async () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.subscribe("/r/", { epoch: "a", offset: 0 });
    const slow = room[Symbol.asyncIterator]();
    for (let offset = 1; offset <= 1010; offset += 1) {
      browser.deliver(publish(offset));
    }
    const first = (await slow.next()).value;
    assert.deepEqual([first.payload, first.missed], [11, 10]);
    assert.equal((await slow.next()).value.missed, undefined);
    for await (const { payload } of slow) {
      assert.equal(payload, 13);
      break;
    }
    assert.deepEqual(await slow.next(), { value: undefined, done: true });
  });

  test("may ask for several messages at once", async () => {
    const stream = hookbox.subscribe("/r/")[Symbol.asyncIterator]();
    browser.accept();
    browser.subscribe("/r/");
    const promises = [stream.next(), stream.next(), stream.next()];
    await new Promise(setImmediate);
    browser.deliver(publish(1));
    browser.deliver(publish(2));
    await new Promise(setImmediate);
    stream.return();
    const results = await Promise.all(promises);
    assert.deepEqual(results.map(({ value, done }) => (done ? "done" : value.payload)), [1, 2, "done"]);
  });

  test("over what was refused before, or has ended, does not wait for ever", async () => {
    const room = hookbox.subscribe("/r/");
    browser.accept();
    browser.deliver(["ERROR", { id: browser.idOf("SUBSCRIBE"), msg: "No", code: "refused" }]);
    await assert.rejects(room[Symbol.asyncIterator]().next(), { code: "refused" });
    room.unsubscribe();
    assert.equal((await room[Symbol.asyncIterator]().next()).done, true);
  });
});
