/**
 * Prints what the browser client weighs, minified and gzipped, and fails above its bounds:
 * 8 KiB for what a page loads by default, 16 KiB for all that it may ever load.
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const CLIENT = fileURLToPath(new URL("../djhookbox/static/djhookbox", import.meta.url));
const KIB = 1024;

/** Bytes of each file of a bundle in which what is loaded later is in files of its own. */
async function weigh(entries) {
  const result = await build({
    entryPoints: entries.map((name) => join(CLIENT, name)),
    bundle: true,
    minify: true,
    splitting: true,
    format: "esm",
    target: "es2022",
    outdir: "/out",
    metafile: true,
    write: false,
  });
  const bytes = new Map(
    result.outputFiles.map((file) => [file.path.slice("/out/".length), gzipSync(file.contents, { level: 9 }).length]),
  );
  return { bytes, outputs: Object.entries(result.metafile.outputs) };
}

/** The files that a page loads with an entry, without those that are loaded when needed. */
function loadedWith(entry, outputs) {
  const byName = new Map(outputs.map(([path, output]) => [path.split("/").at(-1), output]));
  const loaded = new Set([entry]);
  for (const name of loaded) {
    const imports = byName.get(name).imports.filter(({ kind }) => kind === "import-statement");
    imports.forEach(({ path }) => loaded.add(path.split("/").at(-1)));
  }
  return loaded;
}

const { bytes, outputs } = await weigh(["hookbox.js", "legacy.js"]);
const sum = (names) => [...names].reduce((total, name) => total + bytes.get(name), 0);
const first = loadedWith("hookbox.js", outputs);
const rows = [
  ["loaded by default", sum(first), 8 * KIB],
  ["all of it", sum(bytes.keys()), 16 * KIB],
];
for (const name of bytes.keys()) {
  console.log(`    ${name.padEnd(36)} ${String(bytes.get(name)).padStart(6)}${first.has(name) ? "  by default" : ""}`);
}
for (const [what, size, bound] of rows) {
  const verdict = size <= bound ? "ok" : "TOO MUCH";
  console.log(`${what.padEnd(40)} ${String(size).padStart(6)} of ${bound} bytes  ${verdict}`);
  process.exitCode ||= size <= bound ? 0 : 1;
}
