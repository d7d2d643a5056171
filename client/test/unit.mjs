// Runs src/**/*.test.ts under node's test runner: each file is bundled into a
// temporary folder first, since the Node.js versions we support read no TypeScript.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const found = readdirSync(join(root, "src"), { recursive: true }).filter((f) => f.endsWith(".test.ts"));
const out = mkdtempSync(join(tmpdir(), "nova-client-"));
try {
  await build({
    entryPoints: found.map((f) => join(root, "src", f)),
    outdir: out,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node18",
    sourcemap: "inline",
    logLevel: "warning",
  });
  const files = readdirSync(out, { recursive: true }).filter((f) => f.endsWith(".mjs"));
  const args = ["--enable-source-maps", "--test", ...files.map((f) => join(out, f))];
  process.exitCode = spawnSync(process.execPath, args, { stdio: "inherit" }).status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
