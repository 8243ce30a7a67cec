import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { Position } from "../../djhookbox/static/djhookbox/position.js";

/** Random numbers that are the same in each run. */
function seeded(seed) {
  let state = seed;
  return (bound) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * bound);
  };
}

/** A channel's log as the server keeps it: the last few publications of one epoch. */
class Log {
  epoch = "e0";
  offset = 0;
  kept = [];
  #next = 0;
  #epochs = 0;

  constructor(size) {
    this.size = size;
  }

  publish() {
    this.offset += 1;
    this.#next += 1;
    const message = { payload: this.#next, offset: this.offset };
    this.kept = [...this.kept, message].slice(-this.size);
    return this.offset === 1 ? { ...message, epoch: this.epoch } : message;
  }

  restart() {
    this.#epochs += 1;
    this.epoch = `e${this.#epochs}`;
    this.offset = 0;
    this.kept = [];
  }

  snapshot(since) {
    const numbers = { epoch: this.epoch, offset: this.offset };
    if (since === undefined) {
      return numbers;
    }
    const [epoch, offset] = since.split(":");
    if (epoch !== this.epoch) {
      return { ...numbers, recovered: this.kept, missed: null };
    }
    const recovered = this.kept.filter((one) => one.offset > Number(offset));
    return { ...numbers, recovered, missed: this.offset - Number(offset) - recovered.length };
  }
}

describe("a page's place in a channel", () => {
  test("each publication is emitted once, in order, or lies in a gap that is told", () => {
    let gaps = 0;
    let doubles = 0;
    for (let seed = 1; seed <= 400; seed += 1) {
      const random = seeded(seed);
      const log = new Log(1 + random(6));
      const position = new Position();
      const emitted = [];
      let connected = true;
      let last = 0; // the payload of the last publication that was emitted or told as missing
      const emit = (message) => {
        assert.equal(message.payload, last + 1, `seed ${seed}`);
        last = message.payload;
        emitted.push(message.payload);
      };
      const take = (snapshot, newest) => {
        const { missed, messages, hole } = position.snapshot(snapshot);
        assert.notEqual(hole, true, `seed ${seed}`);
        if (missed !== 0) {
          gaps += 1;
          last = newest - messages.length;
        }
        for (const message of messages) {
          position.reach(message.offset);
          emit(message);
        }
        assert.equal(last, newest, `seed ${seed}: all is told after a snapshot`);
      };
      let newest = 0;
      take(log.snapshot(undefined), 0);
      for (let step = 0; step < 60; step += 1) {
        const what = random(10);
        if (what < 6) {
          const frame = log.publish();
          newest += 1;
          if (connected && position.live(frame) === "emit") {
            emit(frame);
          } else if (connected) {
            assert.ok(position.awaited);
          }
        } else if (what === 6) {
          connected = position.awaited = false;
        } else if (what === 7) {
          log.restart();
          connected = position.awaited = false;
        } else if (!connected) {
          // The snapshot is asked for, and something may be published before the server has it.
          connected = true;
          const since = position.cursor;
          position.awaited = true;
          for (let early = random(3); early > 0; early -= 1) {
            newest += 1;
            assert.equal(position.live(log.publish()), "drop", `seed ${seed}`);
          }
          take(log.snapshot(since), newest);
          if (random(2)) {
            // What was on its way already when the snapshot was made comes again.
            const late = log.kept.at(-1);
            doubles += late ? 1 : 0;
            assert.ok(!late || position.live(late) === "drop");
          }
        }
      }
      assert.deepEqual(emitted, [...new Set(emitted)].sort((a, b) => a - b));
    }
    assert.ok(gaps > 50 && doubles > 50, "the runs were worth it");
  });

  test("a live publication that follows a missing one is held back and asked for", () => {
    const position = new Position();
    position.snapshot({ epoch: "a", offset: 4 });
    assert.equal(position.live({ offset: 5 }), "emit");
    assert.equal(position.live({ offset: 7 }), "hole");
    assert.equal(position.cursor, "a:5");
  });

  test("the own publication that does not come back moves the place on", () => {
    const position = new Position();
    position.snapshot({ epoch: "a", offset: 4 });
    position.published({ offset: 5 });
    assert.equal(position.live({ offset: 6 }), "emit");
    position.published({ offset: 6 }); // it came back before its ACK
    position.published({});
    assert.equal(position.cursor, "a:6");
    position.published({ offset: 1, epoch: "b" });
    assert.equal(position.cursor, "b:1");
  });

  test("a new epoch in the middle of the connection begins at its first publication", () => {
    const position = new Position();
    position.snapshot({ epoch: "a", offset: 4 });
    assert.equal(position.live({ offset: 1, epoch: "b" }), "emit");
    assert.equal(position.cursor, "b:1");
  });

  test("what is not numbered is always handed on", () => {
    const position = new Position();
    assert.equal(position.live({}), "emit");
    position.snapshot({ epoch: "a", offset: 4 });
    position.awaited = true;
    assert.equal(position.live({}), "emit");
  });

  test("an unasked snapshot from elsewhere is a hole, the same place is none", () => {
    const position = new Position();
    position.snapshot({ epoch: "a", offset: 4 });
    assert.equal(position.snapshot({ epoch: "a", offset: 4 }).hole, undefined);
    assert.equal(position.snapshot({ epoch: "a", offset: 5 }).hole, true);
    assert.equal(position.snapshot({ epoch: "b", offset: 4 }).hole, true);
    assert.equal(position.cursor, "a:4");
    assert.deepEqual(position.snapshot({}), { missed: null, messages: [] }, "no history any more");
    assert.equal(position.cursor, undefined);
  });

  test("cursors are opaque but for their last colon, and may be empty", () => {
    const position = new Position();
    position.cursor = "with:colon:17";
    assert.equal(position.cursor, "with:colon:17");
    position.cursor = "";
    assert.equal(position.cursor, undefined);
  });
});
