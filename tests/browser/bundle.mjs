/**
 * Bundle an example of the documentation with the library it is for, as a site's build would:
 *
 *     node tests/browser/bundle.mjs <entry> <output>
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { compile } from "svelte/compiler";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const [entry, outfile] = process.argv.slice(2);

const svelte = {
  name: "svelte",
  setup({ onLoad }) {
    onLoad({ filter: /\.svelte$/ }, async ({ path }) => {
      const { js } = compile(await readFile(path, "utf8"), { filename: path, css: "injected" });
      return { contents: js.code, loader: "js" };
    });
  },
};

await build({
  entryPoints: [entry],
  outfile,
  bundle: true,
  format: "esm",
  jsx: "automatic",
  nodePaths: [join(ROOT, "node_modules")],
  alias: {
    djhookbox: join(ROOT, "djhookbox/static/djhookbox/hookbox.js"),
    vue: join(ROOT, "node_modules/vue/dist/vue.esm-bundler.js"),
  },
  conditions: ["browser", "development"],
  define: { "process.env.NODE_ENV": '"development"' },
  plugins: [svelte],
  logLevel: "error",
});
