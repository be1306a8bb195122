// Writes ABI and bytecode of the deployed contracts into the Python package, so that its users need
// no Node. Run it after `forge build`; `--check` only compares, and fails on a difference.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const CONTRACTS = [
  "AttesterRegistry",
  "C4EToken",
  "ChargerPassport",
  "ChargerShares",
  "ERC1967Proxy",
  "EmissionController",
  "NetworkPolicy",
  "NetworkTimelock",
  "SettlementHub",
  "TestEuro",
];
const RUNTIME_BYTES_MAX = 24_576; // EIP-170
const INITCODE_BYTES_MAX = 24_000; // what Hedera takes in one transaction, arguments left out

const here = dirname(fileURLToPath(import.meta.url));
const folder = join(here, "..", "src", "chargera", "ledger", "contracts");
const check = process.argv.includes("--check");
const faults = [];

function bytesOf(hex) {
  return (hex.length - 2) / 2;
}

function artifact(name) {
  const built = JSON.parse(readFileSync(join(here, "out", `${name}.sol`, `${name}.json`), "utf8"));
  const [bytecode, deployed] = [built.bytecode.object, built.deployedBytecode.object];
  if (bytecode.includes("__")) faults.push(`${name}: has unlinked libraries`);
  if (bytesOf(deployed) > RUNTIME_BYTES_MAX)
    faults.push(`${name}: runtime ${bytesOf(deployed)} > ${RUNTIME_BYTES_MAX} bytes`);
  if (bytesOf(bytecode) > INITCODE_BYTES_MAX)
    faults.push(`${name}: initcode ${bytesOf(bytecode)} > ${INITCODE_BYTES_MAX} bytes`);
  return `${JSON.stringify({ abi: built.abi, bytecode, deployed_size: bytesOf(deployed) })}\n`;
}

if (!check) mkdirSync(folder, { recursive: true });
for (const name of CONTRACTS) {
  const text = artifact(name);
  const path = join(folder, `${name}.json`);
  if (!check) writeFileSync(path, text);
  else if (!existsSync(path) || readFileSync(path, "utf8") !== text)
    faults.push(`${name}: the package has something else than the source compiles to`);
}
for (const fault of faults) console.error(fault);
process.exit(faults.length ? 1 : 0);
