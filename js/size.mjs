/**
 * Prints what the browser client weighs, minified and gzipped, and fails above its bounds:
 * 8 KiB for what a page loads by default, 16 KiB with all that it may load when it needs it
 * (the names of 2011, CSP, shared tabs).
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const KIB = 1024;

/** Leaves what is imported by `import()` out of a bundle, and names it. */
function loadLater(later) {
  return {
    name: "load-later",
    setup({ onResolve }) {
      onResolve({ filter: /./ }, ({ kind, path }) => {
        if (kind !== "dynamic-import") {
          return undefined;
        }
        later.add(path);
        return { path, external: true };
      });
    },
  };
}

/** Bytes of an entry with what it imports. */
async function weigh(entry, plugins = []) {
  const result = await build({
    entryPoints: [join(ROOT, entry)],
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
    plugins,
  });
  return gzipSync(result.outputFiles[0].contents, { level: 9 }).length;
}

const later = new Set();
const rows = [
  ["loaded by default", await weigh("djhookbox/static/djhookbox/hookbox.js", [loadLater(later)]), 8 * KIB],
  ["with all that is loaded when needed", await weigh("js/classic.js"), 16 * KIB],
];
for (const [what, size, bound] of rows) {
  const verdict = size <= bound ? "ok" : "TOO MUCH";
  console.log(`${what.padEnd(36)} ${String(size).padStart(6)} of ${bound} bytes, minified and gzipped: ${verdict}`);
  process.exitCode ||= size <= bound ? 0 : 1;
}
console.log(`when needed: legacy.js, ${[...later].map((path) => path.slice(2)).join(", ")}`);
