#!/usr/bin/env node
// Writes ABI and bytecode of the contracts into the Python package, so that its users need no
// compiler. `--check` writes nothing and fails where the package differs from what the sources
// compile to. Both refuse a contract that Hedera or EIP-170 would not deploy.
// Reads `out`: run `forge build --force` before, since what is compiled by halves can differ.
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const TARGET = join(HERE, "..", "src", "chargera", "ledger", "contracts");
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
  const faults = [];
  for (const name of NAMES) {
    const { abi, bytecode, deployedBytecode } = JSON.parse(
      read(join(HERE, "out", `${name}.sol`, `${name}.json`)),
    );
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
