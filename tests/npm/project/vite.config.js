export default {
  build: {
    outDir: "dist/vite",
    target: "es2022",
    lib: { entry: "src/run.js", formats: ["es"], fileName: () => "run.mjs" },
  },
};
