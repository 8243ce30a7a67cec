/**
 * Clients of the resume figures in one Node process: `node clients.mjs URL COUNT OPTIONS`.
 *
 * Prints `ready` once all are subscribed; for each line on the standard input it prints the
 * clients' records as one line of JSON: numbers of publications, and "gap" for each gap event.
 */

import { createInterface } from "node:readline";

import { connect } from "../../djhookbox/static/djhookbox/hookbox.js";

const [url, count, options] = process.argv.slice(2);
const records = [];
let waiting = Number(count);

for (let index = 0; index < Number(count); index += 1) {
  const record = [];
  records.push(record);
  const room = connect({ url, ...JSON.parse(options) }).subscribe("/figures/1/");
  let ready = false;
  room.on("subscribed", () => {
    if (!ready) {
      ready = true;
      waiting -= 1;
      if (waiting === 0) {
        console.log("ready");
      }
    }
  });
  room.on("publish", ({ payload }) => record.push(payload.n));
  room.on("gap", () => record.push("gap"));
}

createInterface({ input: process.stdin }).on("line", () => console.log(JSON.stringify(records)));
