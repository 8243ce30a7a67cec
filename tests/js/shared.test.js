import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, test } from "node:test";

import { connect } from "../../djhookbox/static/djhookbox/hookbox.js";
import "../../djhookbox/static/djhookbox/shared_tabs.js"; // loaded by the client in no time then
import "../../djhookbox/static/djhookbox/shared_hub.js";
import "../../djhookbox/static/djhookbox/shared_transport.js";
import "../../djhookbox/static/djhookbox/csp_transport.js";
import { FakeCsp, settle } from "./fake_csp.js";
import { FakeTabs } from "./fake_tabs.js";
import { record, subscribeArgs } from "./fakes.js";

let tabs;
let opened;

beforeEach(() => {
  tabs = new FakeTabs();
  opened = [];
});

/** Open a tab whose page shares the connection. */
async function open(options = {}) {
  const tab = tabs.open();
  const hookbox = connect({ environment: tab.environment, shared: true, user: "alice", ...options });
  opened.push(tab);
  await settle();
  return { tab, hookbox };
}

/** Two tabs, of which the first has the connection. */
async function two() {
  const first = await open();
  const second = await open();
  first.tab.accept();
  await settle();
  return [first, second];
}

/** Confirm the last SUBSCRIBE on the one connection. */
async function confirm({ tab }, name, snapshot = {}) {
  tab.subscribe(name, snapshot);
  await settle();
}

async function deliver({ tab }, ...frames) {
  tab.deliver(...frames);
  await settle();
}

const publish = (payload, more = {}) => ["PUBLISH", { channel_name: "/r/", user: "bob", payload, ...more }];
const payloads = (seen) => seen.map(([, message]) => message.payload);

afterEach(() => {
  const sockets = opened.flatMap((tab) => tab.sockets.filter((socket) => socket.closedWith === null));
  assert.ok(sockets.length <= 1, "one connection for all");
});

describe("tabs that share a connection", () => {
  test("have one, and each is told who it is", async () => {
    const [first, second] = await two();
    assert.deepEqual([first.hookbox.user, second.hookbox.user], ["alice", "alice"]);
    assert.equal(second.hookbox.transport, "shared");
    assert.equal(first.tab.sockets.length + second.tab.sockets.length, 1);
    const third = await open();
    assert.equal(third.hookbox.connected, true);
  });

  test("hear what they have subscribed to themselves, and nothing else", async () => {
    const [first, second] = await two();
    const room = first.hookbox.subscribe("/r/");
    const other = second.hookbox.subscribe("/other/");
    await settle();
    await deliver(
      first,
      ["SUBSCRIBE", subscribeArgs("/r/", { presence: ["alice"] })],
      ["SUBSCRIBE", subscribeArgs("/other/")],
    );
    assert.deepEqual([room.status, other.status], ["subscribed", "subscribed"]);
    const seen = record(room, "publish");
    await deliver(first, publish(1), ["SUBSCRIBE", { channel_name: "/r/", user: "bob" }]);
    assert.deepEqual(payloads(seen), [1]);
    assert.deepEqual(room.presence, ["alice", "bob"]);
    assert.equal(second.hookbox.getSubscription("/r/"), undefined);
  });

  test("may come to a channel later, each with a snapshot and a place of its own", async () => {
    const [first, second] = await two();
    const here = first.hookbox.subscribe("/r/");
    await settle();
    await confirm(first, "/r/", { epoch: "a", offset: 1 });
    const heard = record(here, "publish", "gap");
    await deliver(first, publish(2, { offset: 2 }));
    const there = second.hookbox.subscribe("/r/");
    await settle();
    assert.deepEqual(first.tab.sent("SUBSCRIBE")[1][2], { channel_name: "/r/", since: "-:0" });
    await confirm(first, "/r/", { epoch: "a", offset: 2, recovered: [{ payload: 2, offset: 2 }], missed: null });
    const late = record(there, "publish", "gap");
    assert.equal(there.status, "subscribed");
    await deliver(first, publish(3, { offset: 3 }));
    assert.deepEqual([payloads(heard), payloads(late)], [[2, 3], [3]]);
  });

  test("leave a channel one by one; the last one takes the connection out", async () => {
    const [first, second] = await two();
    const here = first.hookbox.subscribe("/r/");
    const there = second.hookbox.subscribe("/r/");
    await settle();
    await deliver(first, ["SUBSCRIBE", subscribeArgs("/r/")]);
    await deliver(first, ["SUBSCRIBE", subscribeArgs("/r/", { recovered: [], missed: null })]);
    const seen = record(there, "publish");
    here.unsubscribe();
    await settle();
    assert.equal(here.status, "unsubscribed");
    assert.deepEqual(first.tab.sent("UNSUBSCRIBE"), []);
    await deliver(first, publish(1));
    assert.deepEqual(payloads(seen), [1]);
    there.unsubscribe();
    await settle();
    assert.equal(first.tab.sent("UNSUBSCRIBE").length, 1);
    await deliver(first, ["UNSUBSCRIBE", { channel_name: "/r/", user: "alice" }]);
    assert.equal(there.status, "unsubscribed");
  });

  test("get their own answers, refusals included", async () => {
    const [first, second] = await two();
    const promises = [first.hookbox.publish("/a/", 1), second.hookbox.publish("/a/", 2)];
    const rooms = ["/no/", "/yes/"].map((name) => second.hookbox.subscribe(name));
    const refusals = record(rooms[0], "refused");
    const rejected = assert.rejects(promises[1], { message: "Only staff" });
    await settle();
    const [one, two_] = first.tab.sent("PUBLISH").map(([id]) => id);
    const asked = first.tab.sent("SUBSCRIBE").map(([id]) => id);
    await deliver(
      first,
      ["ERROR", { id: two_, msg: "Only staff", code: "refused" }],
      ["ACK", { id: one }],
      ["ERROR", { id: asked[0], msg: "Not here", code: "refused" }],
      ["SUBSCRIBE", subscribeArgs("/yes/")],
    );
    await Promise.all([promises[0], rejected]);
    assert.equal(refusals[0][1].message, "Not here");
    assert.deepEqual(rooms.map(({ status }) => status), ["refused", "subscribed"]);
  });

  test("come with all their channels in one frame, of which one may be refused", async () => {
    const first = await open();
    const rooms = ["/a/", "/b/"].map((name) => first.hookbox.subscribe(name));
    const refusals = record(rooms[1], "refused");
    first.tab.accept();
    await settle();
    const [[id, , { channels }]] = first.tab.sent("SUBSCRIBE");
    assert.equal(channels.length, 2);
    await deliver(
      first,
      ["SUBSCRIBE", subscribeArgs("/a/")],
      ["ERROR", { id, channel_name: "/b/", msg: "No", code: "refused" }],
      ["ACK", { id }],
    );
    assert.deepEqual(rooms.map(({ status }) => status), ["subscribed", "refused"]);
    assert.equal(refusals.length, 1);
  });

  test("hear each other where the server sends nobody the own message back", async () => {
    const [first, second] = await two();
    const rooms = [first, second].map(({ hookbox }) => hookbox.subscribe("/r/"));
    await settle();
    await deliver(first, ["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 0 })]);
    await deliver(first, ["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 0, recovered: [], missed: null })]);
    const seen = rooms.map((room) => record(room, "publish"));
    rooms[0].publish("mine");
    await settle();
    await deliver(first, ["ACK", { id: first.tab.idOf("PUBLISH"), offset: 1 }]);
    assert.deepEqual(seen.map(payloads), [[], ["mine"]]);
    rooms[1].publish("reflected");
    await settle();
    await deliver(
      first,
      publish("reflected", { user: "alice", offset: 2 }),
      ["ACK", { id: first.tab.idOf("PUBLISH"), offset: 2 }],
      publish("next", { offset: 3 }),
    );
    assert.deepEqual(seen.map(payloads), [["reflected", "next"], ["mine", "reflected", "next"]]);
    assert.equal(first.tab.sent("SUBSCRIBE").length, 2, "nobody has seen a hole");
  });

  test("hear each other also where the message begins a new epoch", async () => {
    const [first, second] = await two();
    const rooms = [first, second].map(({ hookbox }) => hookbox.subscribe("/r/"));
    await settle();
    await deliver(first, ["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 7 })]);
    await deliver(first, ["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 7, recovered: [], missed: null })]);
    const seen = rooms.map((room) => record(room, "publish"));
    rooms[0].publish("mine");
    await settle();
    await deliver(first, ["ACK", { id: first.tab.idOf("PUBLISH"), offset: 1, epoch: "b" }], publish("next", { offset: 2 }));
    assert.deepEqual(seen.map(payloads), [["next"], ["mine", "next"]]);
  });

  test("are told of messages, and of channels that the site subscribed the user to", async () => {
    const [first, second] = await two();
    const seen = [first, second].map(({ hookbox }) => record(hookbox, "message", "subscribed"));
    await deliver(first, ["MESSAGE", { sender: "bob", payload: 1 }], ["SUBSCRIBE", subscribeArgs("/auto/")]);
    assert.deepEqual(seen.map((one) => one.map(([event]) => event)), Array(2).fill(["message", "subscribed"]));
  });
});

describe("tabs that are not provably the same user", () => {
  const socketsOf = (pair) => pair.map(({ tab }) => tab.sockets.length);
  const end = (pair) => pair.forEach(({ hookbox }) => hookbox.disconnect());

  for (const [what, mine, theirs] of [
    ["other tokens", { user: undefined, token: "a" }, { user: undefined, token: "b" }],
    ["other names that the site printed", { user: "alice" }, { user: "bob" }],
    ["a token besides the same name", { user: "alice" }, { user: "alice", token: "b" }],
    ["other payloads", { payload: 1 }, { payload: 2 }],
  ]) {
    test(`have ${what}, and connections of their own`, async () => {
      const pair = [await open(mine), await open(theirs)];
      assert.deepEqual(socketsOf(pair), [1, 1]);
      pair[1].tab.socket.onopen({});
      await settle();
      assert.equal(pair[1].tab.sent("CONNECT")[0][2].token, theirs.token);
      end(pair);
    });
  }

  test("say nothing of who they are: then each has a plain connection", async () => {
    for (const options of [{ user: undefined }, { token: async () => "a" }]) {
      const pair = [await open(options), await open(options)];
      assert.deepEqual(pair.map(({ hookbox }) => hookbox.transport), ["websocket", "websocket"]);
      end(pair);
    }
  });

  test("have the very same token: they share", async () => {
    const pair = [await open({ user: undefined, token: "a" }), await open({ user: undefined, token: "a" })];
    assert.deepEqual(socketsOf(pair), [1, 0]);
  });

  test("are refused if the server says another name than the site printed", async () => {
    const { tab, hookbox } = await open();
    const seen = record(hookbox, "refused");
    tab.socket.onopen({});
    await settle();
    assert.equal(tab.sent("CONNECT")[0][2].expect_user, "alice");
    tab.deliver(["CONNECTED", { name: "bob", version: "1" }]); // a server that does not look
    await settle();
    assert.equal(seen[0][1].code, "session_expired");
    assert.notEqual(hookbox.user, "bob");
  });
});

describe("when a tab closes", () => {
  test("its channels are left, if no other tab is in them", async () => {
    const [first, second] = await two();
    second.hookbox.subscribe("/r/");
    await settle();
    await confirm(first, "/r/");
    tabs.kill(second.tab);
    await settle();
    assert.deepEqual(first.tab.sent("UNSUBSCRIBE").map((frame) => frame[2].channel_name), ["/r/"]);
  });

  test("also when it says so, and the last one closes the connection", async () => {
    const [first, second] = await two();
    second.tab.window.dispatchEvent(new Event("pagehide"));
    await settle();
    assert.equal(first.tab.socket.closedWith, null);
    first.hookbox.disconnect();
    await settle();
    assert.equal(first.tab.socket.closedWith, 1000);
  });

  test("that had the connection, another takes over, and nothing is lost", async () => {
    const [first, second] = await two();
    const third = await open();
    const rooms = [second, third].map(({ hookbox }) => hookbox.subscribe("/r/"));
    await settle();
    await deliver(first, ["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 1 })]);
    await deliver(first, ["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 1, recovered: [], missed: null })]);
    const seen = rooms.map((room) => record(room, "publish", "gap"));
    first.tab.socket.closedWith = 1006;
    tabs.kill(first.tab);
    await settle();
    [second, third].forEach(({ tab }) => tab.clock.pass(1000));
    await settle();
    assert.equal(second.tab.sockets.length, 1);
    second.tab.accept();
    await settle();
    const message = { payload: 2, offset: 2 };
    for (const [, , args] of second.tab.sent("SUBSCRIBE")) {
      assert.equal(args.since, "a:1");
      await deliver(second, ["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 2, recovered: [message], missed: 0 })]);
    }
    await deliver(second, publish(3, { offset: 3 }));
    assert.deepEqual(seen.map(payloads), [[2, 3], [2, 3]]);
  });
});

describe("when the tab that leads", () => {
  for (const [what, happen] of [
    ["is left for another page, or kept for `back`", ({ tab }) => tab.window.dispatchEvent(new Event("pagehide"))],
    ["is frozen", ({ tab }) => tabs.freeze(tab)],
  ]) {
    test(`${what}, the next one takes over at once`, async () => {
      const [first, second] = await two();
      const [room, plain] = ["/r/", "/plain/"].map((name) => second.hookbox.subscribe(name));
      await settle();
      await deliver(first, ["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 1 })]);
      await deliver(first, ["SUBSCRIBE", subscribeArgs("/plain/")]);
      const seen = [room, plain].map((one) => record(one, "publish", "gap"));
      happen(first);
      await settle();
      assert.equal(first.tab.socket.closedWith, 1000, "its connection is closed");
      assert.equal(second.hookbox.connected, false);
      second.tab.clock.pass(1000);
      await settle();
      second.tab.accept();
      await settle();
      const recovered = [{ payload: 2, offset: 2 }];
      await deliver(second, ["SUBSCRIBE", subscribeArgs("/r/", { epoch: "a", offset: 2, recovered, missed: 0 })]);
      await deliver(second, ["SUBSCRIBE", subscribeArgs("/plain/")]);
      assert.deepEqual(seen, [
        [["publish", { channel_name: "/r/", ...recovered[0] }]],
        [["gap", { missed: null, channel: "/plain/" }]],
      ]);
    });
  }

  test("comes back, it stands in line again", async () => {
    const [first, second] = await two();
    const lost = record(second.hookbox, "disconnected");
    first.tab.window.dispatchEvent(new Event("pagehide"));
    await settle();
    assert.equal(second.tab.sockets.length, 1, "at once");
    assert.deepEqual(lost, [], "and nobody is alarmed");
    second.tab.clock.pass(1000);
    await settle();
    second.tab.accept();
    await settle();
    first.tab.window.dispatchEvent(new Event("pageshow"));
    await settle();
    assert.equal(first.hookbox.connected, true);
    assert.equal(first.tab.sockets.length, 1, "led by the other");
    second.tab.socket.closedWith = 1006;
    tabs.kill(second.tab);
    await settle();
    first.tab.clock.pass(1000);
    await settle();
    assert.equal(first.tab.sockets.length, 2);
  });

  test("goes, one that is frozen in line does not keep the others waiting", async () => {
    const [first, second] = await two();
    const third = await open();
    tabs.freeze(second.tab);
    await settle();
    first.tab.socket.closedWith = 1006;
    tabs.kill(first.tab);
    await settle();
    third.tab.clock.pass(1000);
    await settle();
    assert.equal(third.tab.sockets.length, 1);
    third.tab.accept();
    await settle();
    assert.equal(third.hookbox.connected, true);
  });

  test("does not answer for the server: a ping of another tab goes all the way", async () => {
    const [first, second] = await two();
    first.tab.alive = false; // the server
    const lost = record(second.hookbox, "disconnected");
    second.tab.clock.pass(25_000 + 10_000);
    await settle();
    assert.equal(lost.length, 1);
  });
});

describe("when the shared connection", () => {
  test("is lost, each tab resumes from where it was", async () => {
    const [first, second] = await two();
    const room = second.hookbox.subscribe("/r/");
    await settle();
    await confirm(first, "/r/", { epoch: "a", offset: 4 });
    const lost = record(second.hookbox, "disconnected");
    first.tab.drop(1012, "restart");
    await settle();
    assert.deepEqual(lost.map(([, { code }]) => code), [1012]);
    [first, second].forEach(({ tab }) => tab.clock.pass(1000));
    await settle();
    first.tab.accept();
    await settle();
    assert.equal(room.status, "subscribing");
    assert.deepEqual(first.tab.sent("SUBSCRIBE")[0][2], { channel_name: "/r/", since: "a:4" });
  });

  test("is ended by the site, all tabs stay away", async () => {
    const pair = await two();
    pair[0].tab.drop(4500, "Go");
    await settle();
    pair.forEach(({ tab }) => tab.clock.pass(60_000));
    await settle();
    assert.deepEqual(pair.map(({ hookbox }) => hookbox.status), ["closed", "closed"]);
    assert.equal(pair[0].tab.sockets.length, 1);
  });

  test("belongs to a session that has ended, every tab is told", async () => {
    const pair = await two();
    const seen = pair.map(({ hookbox }) => record(hookbox, "sessionended"));
    pair[0].tab.drop(4000, "The session has changed");
    await settle();
    pair.forEach(({ tab }) => tab.clock.pass(2000));
    await settle();
    const answer = async () => {
      pair[0].tab.socket.onopen({});
      await settle();
      assert.equal(pair[0].tab.sent("CONNECT")[0][2].expect_user, "alice");
      pair[0].tab.deliver(["ERROR", { id: pair[0].tab.idOf("CONNECT"), msg: "Log in", code: "session_expired" }]);
      await settle();
    };
    await answer();
    assert.deepEqual(seen.map((events) => events.length), [1, 1]);
  });

  test("would be somebody else's by now, the tab that was alice's does not take it", async () => {
    const [first, second] = await two();
    const seen = record(second.hookbox, "sessionended");
    second.tab.window.dispatchEvent(new Event("pagehide")); // into the browser's cache
    first.hookbox.disconnect();
    await settle();
    const third = await open({ user: "bob" });
    assert.equal(third.tab.sockets.length, 1, "bob's tab does not meet alice's");
    third.tab.accept("bob");
    await settle();
    assert.equal(third.hookbox.user, "bob");
    second.tab.window.dispatchEvent(new Event("pageshow"));
    await settle();
    first.tab.socket.onopen({}); // it still leads
    await settle();
    const [[id, , args]] = first.tab.sent("CONNECT");
    assert.equal(args.expect_user, "alice");
    first.tab.deliver(["ERROR", { id, msg: "Log in", code: "session_expired" }]);
    await settle();
    assert.equal(second.hookbox.status, "closed");
    assert.equal(seen.length, 1);
    third.hookbox.disconnect();
    await settle();
  });

  test("is asked for by a tab that feels alone, the hub looks whether the server is there", async () => {
    const [first, second] = await two();
    second.tab.window.dispatchEvent(new Event("online"));
    await settle();
    assert.equal(first.tab.socket.pings.length, 2, "for the hub and for the tab");
    assert.equal(second.hookbox.connected, true);
  });
});

test("where tabs cannot share, each has a connection of its own", async () => {
  const alone = tabs.open();
  alone.environment.locks = undefined;
  const own = connect({ environment: alone.environment, shared: true, user: "alice" });
  await settle();
  alone.accept();
  assert.equal(own.transport, "websocket");
  assert.equal(own.connected, true);
});

test("where only polling gets through, a tab waits until the hub has found it", async () => {
  const tab = tabs.open();
  const csp = new FakeCsp(tab);
  csp.holdsStreams = true;
  const hookbox = connect({ environment: tab.environment, shared: true, user: "alice" });
  await settle();
  for (let second = 0; second < 20 && !hookbox.connected; second += 1) {
    tab.clock.pass(1000);
    await settle();
  }
  assert.equal(hookbox.connected, true);
  assert.equal(hookbox.transport, "shared");
  assert.match(tab.stored.get("djhookbox:transport"), /^polling/, "and the next one takes it at once");
});

test("where the browser refuses locks as well", async () => {
  const alone = tabs.open();
  alone.environment.locks = { request: () => Promise.reject(new DOMException("In a sandbox", "SecurityError")) };
  const own = connect({ environment: alone.environment, shared: true, user: "alice" });
  await settle();
  alone.accept();
  assert.equal(own.transport, "websocket");
});
