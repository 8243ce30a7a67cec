/**
 * The generated scripts of the client, and the modules that they contain.
 *
 * Pages load `hookbox.min.js` with one request. It loads `csp_transport.min.js` or `shared.min.js`
 * when necessary. The `.cjs` files are for npm tools that do not support ES modules.
 */

import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { minify } from "terser";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
export const CLIENT = join(ROOT, "djhookbox/static/djhookbox");
const { version } = JSON.parse(readFileSync(join(CLIENT, "package.json"), "utf8"));

/**
 * Bundles by the name of the generated file. `apart`: imports that refer to other files instead of
 * being bundled; `map`: whether to generate a source map.
 */
const BUNDLES = {
  "hookbox.min.js": { entry: "hookbox.js", apart: later },
  "legacy.min.js": { entry: "legacy.js", apart: () => ({ "./hookbox.js": "./hookbox.min.js" }) },
  "csp_transport.min.js": { entry: "csp_transport.js" },
  "shared.min.js": { entry: "../../../js/shared.js" },
  "hookbox.classic.js": { entry: "classic.mjs", format: "iife" },
  "admin/server.min.js": { entry: "admin/server.js", map: false, mangle: false },
  "admin/tail.min.js": { entry: "admin/tail.js", map: false, mangle: false },
  "hookbox.cjs": { entry: "hookbox.js", format: "cjs", map: false },
  "legacy.cjs": { entry: "legacy.js", format: "cjs", map: false, apart: () => ({ "./hookbox.js": "./hookbox.cjs" }) },
  "classic.cjs": {
    entry: "classic.mjs",
    format: "cjs",
    map: false,
    apart: () => ({ "./hookbox.js": "./hookbox.cjs", "./legacy.js": "./legacy.cjs" }),
  },
};

/**
 * Members that only the client's own modules use, and that are neither in its types nor in frames.
 * The bundles give them short names, the same in all bundles. On objects that pages can reach, these
 * names begin with "$", so that they cannot collide with what a page adds. `renew` is not listed,
 * because a copy of another version may call it: the page's connections belong to all copies.
 * tests/test_browser_client.py checks that the members are internal.
 */
export const INTERNAL = `
  wanted handles position announce enter begin stay over receive hold hush
  onStatus onConnected onFrame onDetached onLost onRefused onSessionEnded isIdle
  awaited settle recover nextId sessionChanged succeeded patience
  lasted broke touched early heard waits snapshot forget published
  promised stopAll begins detached opener openSocket openLink loadShared reach
  own answer about cursor left listen start stop ended failed feed kind live promise want check
`.trim().split(/\s+/);
const ON_PUBLIC_OBJECTS = INTERNAL.indexOf("hush") + 1;

function shortName(index) {
  const letter = (at) => String.fromCharCode(at < 26 ? 97 + at : 39 + at);
  const hidden = index - ON_PUBLIC_OBJECTS;
  return hidden < 0 ? `$${letter(index)}` : hidden < 52 ? letter(hidden) : `$$${letter(hidden - 52)}`;
}

/** Modules that are loaded on demand, from separate files. */
function later(kind) {
  return kind !== "dynamic-import"
    ? {}
    : {
        "./csp_transport.js": "./csp_transport.min.js",
        "./shared_transport.js": "./shared.min.js",
        "./shared_tabs.js": "./shared.min.js",
        "./shared_hub.js": "./shared.min.js",
      };
}

/** Exclude some modules from a bundle, and import them from other files. */
function keepApart(apart) {
  return {
    name: "keep-apart",
    setup({ onResolve }) {
      onResolve({ filter: /^\./ }, ({ kind, path }) => {
        const target = apart(kind)[path];
        return target && { path: target, external: true };
      });
    },
  };
}

/** Generate a bundle; return its text, and its source map if it has one, by file name. */
async function bundle(name, { entry, format = "esm", map = true, mangle = true, apart = () => ({}) }) {
  const banner = `/*! djhookbox ${version}, BSD */`;
  const { outputFiles } = await build({
    entryPoints: [join(CLIENT, entry)],
    outfile: join(CLIENT, name),
    bundle: true,
    minify: true,
    format,
    globalName: format === "iife" ? "hookbox" : undefined,
    target: "es2022",
    charset: "ascii",
    legalComments: "none",
    // The admin's report has members of such names.
    mangleProps: mangle ? new RegExp(`^(?:${INTERNAL.join("|")})$`) : undefined,
    mangleCache: Object.fromEntries(INTERNAL.map((member, index) => [member, shortName(index)])),
    sourcemap: "external",
    // Scripts that are not modules contain everything in one file, so they need no URLs.
    logOverride: { "empty-import-meta": "silent" },
    plugins: [keepApart(apart)],
    write: false,
  });
  const text = (suffix) => outputFiles.find(({ path }) => path.endsWith(suffix)).text;
  const sourceMap = map && {
    content: text(`${name}.map`),
    filename: basename(name),
    url: `${basename(name)}.map`,
    includeSources: true,
  };
  const result = await minify(text(name), {
    module: format === "esm",
    ecma: 2020,
    compress: { passes: 3 },
    // The file that every page loads says it in its source map only.
    format: { ascii_only: true, preamble: name === "hookbox.min.js" ? undefined : banner },
    sourceMap,
  });
  const made = { [name]: `${result.code}\n` };
  return map ? { ...made, [`${name}.map`]: `${result.map}\n` } : made;
}

/** Return all generated scripts and source maps by file name. */
export async function bundles() {
  const made = Object.entries(BUNDLES).map(([name, options]) => bundle(name, options));
  return Object.assign({}, ...(await Promise.all(made)));
}
