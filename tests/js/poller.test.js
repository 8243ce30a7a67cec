import assert from "node:assert/strict";
import { test } from "node:test";

import { Poller } from "../../djhookbox/static/djhookbox/admin/poller.js";
import { FakeClock } from "./fakes.js";

/** A site that answers as it is told, and a poller that asks it. */
function setUp() {
  const clock = new FakeClock();
  const site = { asked: [], answers: [] };
  const heard = [];
  const fetch = async (address, options) => {
    site.asked.push({ address, at: clock.now, tag: options.headers["If-None-Match"], options });
    const answer = site.answers.shift() ?? { status: 304 };
    if (answer instanceof Error) {
      throw answer;
    }
    return {
      type: "basic",
      ok: answer.status === 200,
      text: async () => answer.html,
      headers: new Map([["ETag", answer.tag ?? ""]]),
      ...answer,
    };
  };
  const poller = new Poller(
    "/live/",
    {
      onAnswer: (html) => heard.push(html),
      onFailure: () => heard.push("failure"),
      onEnd: () => heard.push("end"),
    },
    { fetch, AbortController, setTimeout: clock.setTimeout, clearTimeout: clock.clearTimeout },
  );
  const pass = async (milliseconds) => {
    clock.pass(milliseconds);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { clock, site, heard, poller, pass };
}

test("it asks every five seconds, and says what it has already", async () => {
  const { site, heard, poller, pass } = setUp();
  site.answers.push({ status: 200, html: "one", tag: '"a"' }, { status: 304 });
  poller.start();
  for (let i = 0; i < 3; i += 1) {
    await pass(5000);
  }
  assert.deepEqual(heard, ["one", null, null]);
  assert.deepEqual(
    site.asked.map(({ at, tag }) => [at, tag]),
    [
      [5000, undefined],
      [10_000, '"a"'],
      [15_000, '"a"'],
    ],
  );
});

test("after failures it asks later and later, and at once as usual when all is well", async () => {
  const { clock, site, heard, poller, pass } = setUp();
  site.answers.push(...Array.from({ length: 6 }, () => new TypeError("no network")));
  site.answers.push({ status: 502 }, { status: 200, html: "well" });
  poller.start(0);
  await pass(0);
  for (let i = 0; i < 400 && heard.at(-1) !== "well"; i += 1) {
    await pass(1000);
  }
  const times = site.asked.map(({ at }) => at);
  const pauses = times.slice(1).map((at, index) => at - times[index]);
  assert.deepEqual(pauses, [10_000, 20_000, 40_000, 60_000, 60_000, 60_000, 60_000]);
  const before = clock.now;
  await pass(5000);
  assert.equal(site.asked.at(-1).at, before + 5000);
});

test("a login page, a refusal and a missing page end it", async () => {
  for (const answer of [{ type: "opaqueredirect", status: 0 }, { status: 403 }, { status: 404 }]) {
    const { clock, site, heard, poller, pass } = setUp();
    site.answers.push(answer);
    poller.start(0);
    await pass(0);
    assert.deepEqual(heard, ["end"]);
    assert.equal(clock.running, 0);
    assert.equal(poller.running, false);
  }
});

test("an answer that was on its way when it was stopped is not taken", async () => {
  const { clock, site, heard, poller, pass } = setUp();
  site.answers.push({ status: 200, html: "late" });
  poller.start(0);
  clock.pass(0);
  assert.equal(poller.running, true);
  poller.stop();
  await pass(0);
  assert.deepEqual(heard, []);
  assert.equal(clock.running, 0);
  assert.equal(site.asked[0].options.signal.aborted, true);
});

test("a listener may set the pace", async () => {
  const { site, heard, poller, pass } = setUp();
  poller.start(0);
  await pass(0);
  poller.start(60_000);
  await pass(59_000);
  assert.equal(site.asked.length, 1);
  await pass(1000);
  assert.deepEqual(heard, [null, null]);
});
