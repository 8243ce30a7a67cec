import assert from "node:assert/strict";
import { after, beforeEach, test } from "node:test";

import { connect, logging } from "../../djhookbox/static/djhookbox/legacy.js";
import { FakeBrowser, subscribeArgs } from "./fakes.js";

/** A page of 2011 gives an address and nothing else: the browser is the global one. */
let browser;
let calls;
const { setTimeout, clearTimeout, fetch } = globalThis;
const note = (name) => (...args) => calls.push([name, ...args]);

beforeEach(() => {
  browser = new FakeBrowser();
  calls = [];
  Object.assign(globalThis, browser.environment);
});

after(() => Object.assign(globalThis, { setTimeout, clearTimeout, fetch }));

/** What the pages of the old documentation do. */
function page(...args) {
  const connection = connect("http://localhost:8001", ...args);
  for (const name of ["onOpen", "onError", "onClose", "onUnsubscribed", "onMessaged"]) {
    connection[name] = note(name);
  }
  connection.onSubscribed = (name, subscription, frame) => {
    calls.push(["onSubscribed", name, subscription.channelName, frame.history_size]);
    for (const callback of ["onPublish", "onSubscribe", "onUnsubscribe", "onState"]) {
      subscription[callback] = note(callback);
    }
  };
  return connection;
}

test("a page of 2011 is called back as it was", async () => {
  const connection = page();
  assert.equal(browser.socket.url, "ws://localhost:8001/ws");
  connection.subscribe("/r/");
  browser.accept();
  browser.subscribe("/r/", { history_size: 2 });
  const publish = { channel_name: "/r/", user: "bob", payload: 1 };
  const join = { channel_name: "/r/", user: "bob" };
  const state = { channel_name: "/r/", updates: { a: 1 }, deletes: [] };
  const message = { sender: "bob", recipient: "alice", payload: 1 };
  browser.deliver(["PUBLISH", publish], ["SUBSCRIBE", join], ["UNSUBSCRIBE", join]);
  browser.deliver(["STATE_UPDATE", state], ["MESSAGE", message]);
  const subscription = connection.getSubscription("/r/");
  assert.equal(subscription.state.hasOwnProperty("a"), true);
  assert.equal(subscription.historySize, 2);
  assert.deepEqual(subscription.history, [["PUBLISH", { user: "bob", payload: 1, datetime: undefined }]]);
  assert.deepEqual(subscription.presence, []);
  assert.equal(subscription.user, "alice");
  assert.equal(connection.username, "alice");
  assert.equal(subscription.canceled, false);
  subscription.publish(1);
  const error = { id: browser.idOf("PUBLISH"), msg: "no", code: "refused" };
  browser.deliver(["ERROR", error]);
  await new Promise(setImmediate); // no unhandled rejection: onError has told it
  subscription.cancel();
  const own = { channel_name: "/r/", user: "alice" };
  browser.deliver(["UNSUBSCRIBE", own]);
  assert.equal(subscription.canceled, true);
  connection.disconnect();
  assert.deepEqual(calls, [
    ["onOpen", { name: "alice", version: "djhookbox/1.0.0", conn_id: "c1" }],
    ["onSubscribed", "/r/", "/r/", 2],
    ["onPublish", publish],
    ["onSubscribe", join],
    ["onUnsubscribe", join],
    ["onState", state],
    ["onMessaged", message],
    ["onError", error],
    ["onUnsubscribe", own],
    ["onUnsubscribed", subscription, own],
    ["onClose", 1000, ""],
  ]);
});

test("an interruption that is made good is not noticed; another is a new subscription", () => {
  const connection = page();
  connection.subscribe("/r/");
  browser.accept();
  browser.subscribe("/r/", { epoch: "a", offset: 1 });
  for (const [missed, offset] of [[0, 2], [3, 6]]) {
    calls = [];
    browser.drop(1006);
    browser.clock.pass(2000);
    browser.accept();
    const recovered = [{ payload: 2, offset }];
    browser.subscribe("/r/", { epoch: "a", offset, recovered, missed });
    const expected = ["onClose", "onOpen", "onPublish", ...(missed ? ["onSubscribed"] : [])];
    assert.deepEqual(calls.map(([name]) => name), expected);
  }
});

test("a page that connects again by itself gets the connection that comes back", () => {
  const connection = page();
  connection.onClose = () => assert.equal(connect("http://localhost:8001"), connection);
  connection.subscribe("/r/");
  browser.accept();
  browser.drop(1006);
  assert.equal(browser.sockets.length, 2);
  browser.accept();
  assert.notEqual(connect("http://localhost:8001"), connection, "a second one, as the page wants");
  assert.equal(browser.sockets.length, 3);
});

test("a refused subscription, a refused connection and a lost one are told as they were", () => {
  const connection = page();
  const lost = [];
  connection.onConnectionLost = (reason) => lost.push(reason);
  connection.subscribe("/secret/");
  browser.accept();
  const error = { id: browser.idOf("SUBSCRIBE"), msg: "No policy", code: "refused" };
  browser.deliver(["ERROR", error]);
  browser.drop(1006, "gone");
  assert.deepEqual(lost, ["gone"]);
  browser.clock.pass(2000);
  browser.socket.onopen({});
  const refusal = { id: browser.idOf("CONNECT"), msg: "Not you", code: "refused" };
  browser.deliver(["ERROR", refusal]);
  assert.deepEqual(calls.slice(1), [
    ["onError", error],
    ["onError", refusal],
    ["onClose", 1000, "Not you"],
  ]);
});

test("cookies and payload stand where they stood, first in 2010 and then in 2013", () => {
  const sent = (...args) => {
    connect("http://h:1", ...args);
    browser.socket.onopen({});
    const { cookie_string: cookies, payload } = browser.sent("CONNECT")[0][2];
    return [cookies, payload];
  };
  assert.deepEqual(sent(), ["", undefined]);
  assert.deepEqual(sent("a=1"), ["a=1", undefined]);
  assert.deepEqual(sent({ room: 1 }), ["", '{"room":1}']);
  assert.deepEqual(sent("text", "a=1"), ["a=1", '"text"']);
});

test("what the later pages use is there", () => {
  logging.get("net").setLevel(0);
  logging.getLogger("hookbox").debug("nothing");
  const connection = connect({ environment: browser.environment, port: 9 });
  const opened = [];
  connection.onOpen = (args) => opened.push(args.name);
  connection.on("connected", ({ user }) => opened.push(user));
  browser.accept();
  browser.deliver(["SUBSCRIBE", subscribeArgs("/auto/")]);
  assert.deepEqual(opened, ["alice", "alice"]);
  connection.disconnect();
  connection.reconnect();
  assert.equal(connection.status, "connecting");
});

test("connections of pages of 2011 are watched while DEBUG is on", () => {
  const watched = [];
  const kept = Object.assign(new Map(), { watch: (connection) => watched.push(connection) });
  browser.document[Symbol.for("djhookbox")] = kept;
  const connection = page();
  assert.deepEqual(watched, [connection]);
  assert.equal(kept.size, 0, "the document does not keep them");
});
