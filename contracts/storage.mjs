#!/usr/bin/env node
// Keeps where each upgradeable contract has its storage (snapshots/storage/NAME.json), so that an
// upgrade that would move or retype a slot is seen in review. `--check` writes nothing and fails on
// a difference. Reads `out`: run `forge build` before.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const TARGET = join(HERE, "snapshots", "storage");
const NAMES = ["AttesterRegistry", "EmissionController", "NetworkPolicy", "SettlementHub"];
// What runs on another contract's storage by delegatecall: [its name, whose storage].
const GUESTS = [["SettlementCourt", "SettlementHub"]];

const faults = [];
mkdirSync(TARGET, { recursive: true });
for (const name of NAMES) {
  const path = join(TARGET, `${name}.json`);
  const text = layoutOf(name);
  if (!process.argv.includes("--check")) writeFileSync(path, text);
  else if (text !== readFileSync(path, "utf8")) {
    faults.push(`${name}: storage moved; if no proxy holds the old layout, run node storage.mjs`);
  }
}
for (const [guest, host] of GUESTS) {
  if (layoutOf(guest) !== layoutOf(host)) faults.push(`${guest} has other storage than ${host}`);
}
for (const fault of faults) console.error(fault);
process.exitCode = faults.length ? 1 : 0;

// One line a slot or field: what stands there, without the numbers the compiler gives to its nodes.
function layoutOf(name) {
  const artifact = join(HERE, "out", `${name}.sol`, `${name}.json`);
  const { storage, types } = JSON.parse(readFileSync(artifact, "utf8")).storageLayout;
  const lines = storage.flatMap((variable) => fieldsOf(variable, types, 0n, ""));
  return `${JSON.stringify(lines, null, 2)}\n`;
}

function fieldsOf({ label, slot, offset, type }, types, base, path) {
  const { label: typeName, members, base: element, value, numberOfBytes } = types[type];
  const at = base + BigInt(slot);
  const line = `${at}+${offset}: ${path}${label} ${typeName} (${numberOfBytes} B)`;
  // What a mapping or an array holds is laid out from zero on, relative to its own place.
  const held = members
    ? members.flatMap((member) => fieldsOf(member, types, at, `${path}${label}.`))
    : [value, element].filter((inner) => types[inner]?.members ?? types[inner]?.value).flatMap((inner) =>
        fieldsOf({ label: "[]", slot: "0", offset: 0, type: inner }, types, 0n, `${path}${label}`),
      );
  return [line, ...held];
}
