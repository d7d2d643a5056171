import { defineConfig } from "vite";

// The output is committed and rebuilt by CI, so nothing in it may depend on
// the machine: no source maps, no legal banners, names from content hashes.
export default defineConfig({
  base: "/",
  esbuild: { jsx: "automatic", jsxImportSource: "preact", legalComments: "none" },
  build: {
    target: "es2022",
    outDir: "dist",
    emptyOutDir: true,
    sourcemap: false,
    modulePreload: { polyfill: false },
    // Inlined assets would be data: URLs, which the page's policy allows for
    // images alone.
    assetsInlineLimit: 0,
    reportCompressedSize: false,
  },
  server: {
    proxy: {
      "/api": { target: process.env.NOVA_URL ?? "http://127.0.0.1:8080", ws: true },
    },
  },
});
