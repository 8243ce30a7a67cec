module.exports = {
  mode: "production",
  target: "node",
  entry: "./src/run.js",
  output: { path: `${__dirname}/dist/webpack`, filename: "run.mjs", module: true, chunkFormat: "module" },
  experiments: { outputModule: true },
};
