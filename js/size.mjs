/**
 * Prints the gzipped size of the client's files, and fails if one exceeds its bound: 8 KiB for the
 * file that a page loads, 16 KiB for everything (including the names of 2011, CSP and shared tabs).
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

import { CLIENT } from "./bundles.mjs";

const KIB = 1024;

const rows = [
  ["hookbox.min.js", 8 * KIB],
  ["hookbox.classic.js", 16 * KIB],
  ["legacy.min.js", 2 * KIB],
  ["csp_transport.min.js", 3 * KIB],
  ["shared.min.js", 5 * KIB],
];
for (const [name, bound] of rows) {
  const size = gzipSync(readFileSync(join(CLIENT, name)), { level: 9 }).length;
  const verdict = size <= bound ? "ok" : "TOO MUCH";
  console.log(`${name.padEnd(24)} ${String(size).padStart(6)} of ${bound} bytes, gzipped: ${verdict}`);
  process.exitCode ||= size <= bound ? 0 : 1;
}
