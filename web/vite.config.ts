import { defineConfig } from "vite";

/** Two scripts and one style sheet, put where the drawing room reads them: the page, and what draws in three dimensions. */
const ENTRIES = { atlas: "src/main.tsx", third: "src/third.ts" };

export default defineConfig(({ mode }) => {
  const name = mode === "third" ? "third" : "atlas";
  return {
    build: {
      outDir: "../src/lossatlas/draw/page",
      emptyOutDir: false,
      target: "es2022",
      cssCodeSplit: false,
      reportCompressedSize: false,
      chunkSizeWarningLimit: 700,
      rolldownOptions: {
        input: ENTRIES[name],
        output: { format: "iife", entryFileNames: `${name}.js`, assetFileNames: "atlas.[ext]" },
      },
    },
  };
});
