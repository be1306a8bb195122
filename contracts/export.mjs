#!/usr/bin/env node
// Writes ABI and bytecode of the contracts into the Python package, so that its users need no
// compiler. `--check` writes nothing and fails where the package differs from what the sources
// compile to. Both refuse a contract that Hedera or EIP-170 would not deploy.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const TARGET = join(HERE, "..", "src", "chargera", "ledger", "contracts");
const PROXY = "node_modules/@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol";
const NAMES = [
  "AttesterRegistry",
  "C4EToken",
  "ChargerPassport",
  "ChargerShares",
  "ERC1967Proxy",
  "EmissionController",
  "NetworkPolicy",
  "NetworkTimelock",
  "SettlementCourt",
  "SettlementHub",
  "TestEuro",
];
const MOST_RUNTIME = 24_576; // EIP-170
const MOST_INITCODE = 24_000; // one EthereumTransaction of Hedera; constructor arguments excluded

function main() {
  const isCheck = process.argv.includes("--check");
  const artifacts = compile();
  const faults = [];
  for (const name of NAMES) {
    const { abi, bytecode, deployedBytecode } = artifacts(name);
    const runtime = size(deployedBytecode.object);
    const initcode = size(bytecode.object);
    if (Object.keys(bytecode.linkReferences ?? {}).length) faults.push(`${name} needs linking`);
    if (runtime > MOST_RUNTIME) faults.push(`${name}: runtime ${runtime} B > ${MOST_RUNTIME} B`);
    if (initcode > MOST_INITCODE) faults.push(`${name}: initcode ${initcode} B > ${MOST_INITCODE} B`);
    const text = format(abi, bytecode.object, runtime);
    const path = join(TARGET, `${name}.json`);
    if (isCheck) {
      if (read(path) !== text) faults.push(`${name} differs from its source: run node export.mjs`);
    } else {
      mkdirSync(TARGET, { recursive: true });
      writeFileSync(path, text);
    }
    console.log(`${name.padEnd(20)} runtime ${pad(runtime)} B   initcode ${pad(initcode)} B`);
  }
  const known = new Set(NAMES.map((name) => `${name}.json`));
  const strays = readdirSync(TARGET).filter((f) => f.endsWith(".json") && !known.has(f));
  faults.push(...strays.map((file) => `${file} is the export of no contract`));
  for (const fault of faults) console.error(fault);
  process.exitCode = faults.length ? 1 : 0;
}

// The sources alone, from nothing: what was compiled before or beside them changes no byte.
function compile() {
  const folder = mkdtempSync(join(tmpdir(), "chargera-export-"));
  try {
    execFileSync(join(HERE, "node_modules", ".bin", "forge"), ["build", "--force", "src", PROXY], {
      cwd: HERE,
      env: { ...process.env, FOUNDRY_OUT: join(folder, "out"), FOUNDRY_CACHE_PATH: join(folder, "cache") },
      stdio: ["ignore", "ignore", "inherit"],
    });
    const found = new Map(
      NAMES.map((name) => [name, JSON.parse(read(join(folder, "out", `${name}.sol`, `${name}.json`)))]),
    );
    return (name) => found.get(name);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

// One ABI entry a line, so that a difference is readable.
function format(abi, bytecode, runtime) {
  const entries = abi.map((entry) => `    ${JSON.stringify(entry)}`).join(",\n");
  return `{\n  "abi": [\n${entries}\n  ],\n  "bytecode": "${bytecode}",\n  "deployed_size": ${runtime}\n}\n`;
}

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return "null";
    throw error;
  }
}

const size = (hex) => (hex.length - 2) / 2;
const pad = (number) => String(number).padStart(6);

main();
