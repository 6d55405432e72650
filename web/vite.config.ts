import { defineConfig } from "vite";

/** One script and one style sheet, put where the drawing room reads them. */
export default defineConfig({
  build: {
    outDir: "../src/lossatlas/draw/page",
    emptyOutDir: false,
    target: "es2022",
    cssCodeSplit: false,
    reportCompressedSize: false,
    rolldownOptions: {
      input: "src/main.tsx",
      output: { format: "iife", entryFileNames: "atlas.js", assetFileNames: "atlas.[ext]", inlineDynamicImports: true },
    },
  },
});
