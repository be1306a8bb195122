#!/usr/bin/env node
// Runs slither and compares what it finds with slither.md, where each finding that stays has its
// reason: fails on one that has none, and on a reason whose finding is gone.
// `SLITHER=PATH node slither.mjs` for a slither that is not on the PATH. Reads `out/build-info`: run
// `forge build --force --build-info` before.
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync } from "node:fs";
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
    const bin = join(HERE, "node_modules", ".bin"); // it asks forge for its version
    const builds = join(folder, "builds");
    mkdirSync(builds);
    copyFileSync(buildOfSources(), join(builds, "sources.json"));
    const run = spawnSync(
      process.env.SLITHER ?? "slither",
      [".", "--ignore-compile", "--foundry-build-info-directory", builds, "--json", report],
      { cwd: HERE, env: { ...process.env, PATH: `${bin}${delimiter}${process.env.PATH}` }, encoding: "utf8" },
    );
    if (!existsSync(report)) throw new Error(`slither did not run: ${run.error ?? run.stderr}`);
    const { success, error, results } = JSON.parse(readFileSync(report, "utf8"));
    if (!success) throw new Error(`slither failed: ${error}`);
    return results.detectors ?? [];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// Tests are compiled apart from the sources: what has a contract to deploy but no test.
function buildOfSources() {
  const folder = join(HERE, "out", "build-info");
  const files = existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
  const found = files.filter((file) => {
    const { sources } = JSON.parse(readFileSync(file, "utf8")).input;
    return "src/SettlementHub.sol" in sources && !Object.keys(sources).some((name) => name.startsWith("test/"));
  });
  if (found.length !== 1) throw new Error(`${found.length} builds of the sources: forge build --force --build-info`);
  return found[0];
}

// The detector, and the function (else the variable) that it names first.
function nameOf({ check, elements }) {
  const element = elements.find(({ type }) => type === "function") ?? elements[0];
  const parent = element.type_specific_fields?.parent;
  const place = parent?.type === "function" ? `${parent.type_specific_fields.parent.name}.${parent.name}`
    : parent?.type === "contract" ? `${parent.name}.${element.name}` : element.name;
  return `${check} ${place}`;
}
