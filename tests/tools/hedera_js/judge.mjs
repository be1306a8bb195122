// Runs scenarios with the unmodified SDK: `node judge.mjs EMULATOR CONTRACT`, both JSON; prints one
// line of JSON a scenario and ends with 1 at the first that fails.

import { connect } from "./network.mjs";
import * as scenarios from "./scenarios.mjs";

const [emulator, contract] = process.argv.slice(2).map((text) => JSON.parse(text));
const judge = { ...connect(emulator), emulator };

for (const name of ["contracts", ...Object.keys(scenarios).filter((each) => each !== "contracts")]) {
    const seen = await scenarios[name](judge, contract);
    console.log(JSON.stringify({ scenario: name, ...seen }));
}
judge.client.close();
process.exit(0);
