import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../../djhookbox/static/djhookbox/backoff.js";
import { comesBack } from "../../djhookbox/static/djhookbox/close_codes.js";
import { Emitter } from "../../djhookbox/static/djhookbox/emitter.js";
import { pageConfig, serverAddress } from "../../djhookbox/static/djhookbox/page.js";
import { encodeFrame, FrameDecoder } from "../../djhookbox/static/djhookbox/rtjp.js";

test("delays double up to the longest, and each uses the full range", () => {
  const longest = new Backoff({ first: 100, longest: 1000, random: () => 1 });
  assert.deepEqual(Array.from({ length: 6 }, () => longest.next()), [100, 200, 400, 800, 1000, 1000]);
  longest.reset();
  assert.equal(longest.next(), 100);
  const shortest = new Backoff({ random: () => 0 });
  assert.equal(shortest.next(), 0);
});

test("delays stay finite after thousands of failures", () => {
  const backoff = new Backoff({ first: 1, longest: 500, random: () => 1 });
  for (let i = 0; i < 5000; i += 1) {
    backoff.next();
  }
  assert.equal(backoff.next(), 500);
});

test("only 4500 to 4999 mean to stay away", () => {
  for (const code of [1000, 1001, 1006, 1012, 4000, 4001, 4002, 4499, 5000]) {
    assert.equal(comesBack(code), true, String(code));
  }
  for (const code of [4500, 4501, 4502, 4999]) {
    assert.equal(comesBack(code), false, String(code));
  }
});

test("frames arrive whole, however their text is cut", () => {
  const text = encodeFrame(1, "PUBLISH", { payload: "a\r\nb ü" }) + encodeFrame(2, "ACK", { id: 7 });
  const expected = [
    [1, "PUBLISH", { payload: "a\r\nb ü" }],
    [2, "ACK", { id: 7 }],
  ];
  for (let size = 1; size <= text.length; size += 1) {
    const decoder = new FrameDecoder();
    const frames = [];
    for (let start = 0; start < text.length; start += size) {
      frames.push(...decoder.feed(text.slice(start, start + size)));
    }
    assert.deepEqual(frames, expected, `in pieces of ${size}`);
  }
});

test("lines that are no frames are skipped, and what follows is read", () => {
  const bad = ["", "{", "7", "null", "[1]", '[1,2,{}]', '[1,"X",null]', '[1,"X",{},4]'];
  const decoder = new FrameDecoder();
  const frames = decoder.feed(`${bad.join("\r\n")}\r\n[3,"ACK",{}]\r\n`);
  assert.deepEqual(frames, [[3, "ACK", {}]]);
});

test("a listener's mistake keeps nothing from the next one", (context) => {
  const reported = context.mock.method(console, "error", () => {});
  const emitter = new Emitter();
  const heard = [];
  const removed = () => heard.push("removed");
  emitter.on("x", () => {
    throw new Error("the page's");
  });
  emitter.on("x", removed).off("x", removed);
  emitter.on("x", (detail) => heard.push(detail));
  assert.equal(emitter.emit("x", 1), true);
  assert.equal(emitter.emit("y"), false);
  assert.deepEqual(heard, [1]);
  assert.equal(reported.mock.callCount(), 1);
  assert.throws(() => emitter.on("x", undefined), TypeError);
});

test("the address is the page's own host, unless the site says otherwise", () => {
  const http = { protocol: "http:", hostname: "localhost" };
  const https = { protocol: "https:", hostname: "[::1]" };
  assert.equal(serverAddress({}, http), "ws://localhost:8001");
  assert.equal(serverAddress({ port: 9001 }, https), "wss://[::1]:9001");
  assert.equal(serverAddress({ url: "http://h:8001/" }, https), "ws://h:8001");
  assert.equal(serverAddress({ url: "https://h/live" }, http), "wss://h/live");
  assert.equal(serverAddress({ url: "wss://h" }, http), "wss://h");
  assert.equal(serverAddress({ url: "wss://h" }, undefined), "wss://h");
  assert.throws(() => serverAddress({}, undefined), TypeError);
});

test("a page without the template tag has no configuration", () => {
  assert.deepEqual(pageConfig(undefined), {});
  assert.deepEqual(pageConfig({ querySelectorAll: () => [] }), {});
  const elements = [{ textContent: '{"port": 1}' }, { textContent: '{"port": 8002, "token": "t"}' }];
  const found = pageConfig({ querySelectorAll: () => elements });
  assert.deepEqual(found, { port: 8002, token: "t" }, "the last one counts");
  const inserted = [{ textContent: '{"port": 3}' }, ...elements];
  assert.deepEqual(pageConfig({ querySelectorAll: () => inserted }), { port: 3 }, "the newest counts");
  assert.deepEqual(pageConfig({ querySelectorAll: () => inserted }), { port: 3 });
});
