#!/usr/bin/env node
// Runs slither and compares what it finds with slither.md, where each finding that stays has its
// reason: fails on one that has none, and on a reason whose finding is gone.
// `SLITHER=PATH node slither.mjs` for a slither that is not on the PATH.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));

const found = new Set(findings().map(nameOf));
const explained = new Set(
  [...readFileSync(join(HERE, "slither.md"), "utf8").matchAll(/^\| `([a-z-]+)` \| `([^`]+)` \|/gm)].map(
    ([, check, place]) => `${check} ${place}`,
  ),
);
const faults = [
  ...[...found].filter((name) => !explained.has(name)).map((name) => `not explained: ${name}`),
  ...[...explained].filter((name) => !found.has(name)).map((name) => `explained, not found: ${name}`),
].sort();
for (const fault of faults) console.error(fault);
console.log(`${found.size} findings, ${explained.size} explained`);
process.exitCode = faults.length ? 1 : 0;

function findings() {
  const folder = mkdtempSync(join(tmpdir(), "chargera-slither-"));
  try {
    const report = join(folder, "report.json");
    const bin = join(HERE, "node_modules", ".bin");
    const run = spawnSync(process.env.SLITHER ?? "slither", [".", "--json", report], {
      cwd: HERE,
      env: {
        ...process.env,
        PATH: `${bin}${delimiter}${process.env.PATH}`,
        FOUNDRY_OUT: join(folder, "out"),
        FOUNDRY_CACHE_PATH: join(folder, "cache"),
      },
      encoding: "utf8",
    });
    if (!existsSync(report)) throw new Error(`slither did not run: ${run.error ?? run.stderr}`);
    const { success, error, results } = JSON.parse(readFileSync(report, "utf8"));
    if (!success) throw new Error(`slither failed: ${error}`);
    return results.detectors ?? [];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// The detector, and the function (else the variable) that it names first.
function nameOf({ check, elements }) {
  const element = elements.find(({ type }) => type === "function") ?? elements[0];
  const parent = element.type_specific_fields?.parent;
  const place = parent?.type === "function" ? `${parent.type_specific_fields.parent.name}.${parent.name}`
    : parent?.type === "contract" ? `${parent.name}.${element.name}` : element.name;
  return `${check} ${place}`;
}
