// A charging station on npm `ocpp-rpc` in strict mode: its own schemas, judged by ajv, refuse any
// answer or call of the central system that is not of the standard.
//
//   node station.mjs '{"endpoint", "identity", "password", "version", "idToken", "ca"}'
//
// It boots, charges once by card, charges once when it is told to, obeys other commands, and ends
// when it is told to reset. What happens is told as one line of JSON each. Exit 1: something was
// not of the standard, or was refused.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dialects } from "./dialects.mjs";

// ocpp-rpc is a CommonJS package.
const { RPCClient } = createRequire(import.meta.url)("ocpp-rpc");

const plan = JSON.parse(process.argv[2]);
const dialect = dialects[plan.version];
const station = new RPCClient({
  endpoint: plan.endpoint,
  identity: plan.identity,
  password: plan.password,
  protocols: [dialect.protocol],
  strictMode: true,
  reconnect: false,
  callTimeoutMs: 10_000,
  wsOpts: plan.ca ? { ca: readFileSync(plan.ca) } : {},
});

// The client would only reject a promise, or answer with an error: both must end the program.
station.on("strictValidationFailure", ({ method, outbound, isCall, error, params, result }) =>
  fail(`${outbound ? "our" : "the server's"} ${method} ${isCall ? "call" : "answer"}`, {
    error: error.message,
    errors: error.details?.errors,
    params,
    result,
  }),
);
station.on("badMessage", ({ buffer, error }) => fail(error.message, buffer.toString()));
process.on("unhandledRejection", (error) => fail("rejected", error.stack));

function tell(event, more = {}) {
  process.stdout.write(`${JSON.stringify({ event, ...more })}\n`);
}

function fail(what, details) {
  process.stderr.write(`${what}: ${JSON.stringify(details, null, 1)}\n`);
  process.exit(1);
}

function at(base, minutes) {
  return new Date(base.getTime() + minutes * 60_000).toISOString();
}

// Answers a command once and gives what it asked for.
function ordered(command) {
  return new Promise((resolve) => {
    station.handle(dialect.commands[command], ({ params }) => {
      setImmediate(() => resolve(params));
      return { status: "Accepted" };
    });
  });
}

// Charges: registers in Wh by minutes since `begun`, and minutes at which the car has had enough.
async function charge({ begun, idToken, registers, fullAt, endedAt, remote }) {
  const [[firstMinute, first], ...later] = registers;
  const session = { idToken, remote };
  await dialect.begin(station, session, at(begun, firstMinute), first);
  tell("started", { transaction: String(session.id) });
  for (const [minute, register] of later) {
    await dialect.meter(station, session, at(begun, minute), register);
    if (minute === fullAt) await dialect.suspend(station, session, at(begun, minute));
  }
  await remote?.stopped;
  await dialect.end(station, session, at(begun, endedAt), registers.at(-1)[1], !remote);
  return String(session.id);
}

await station.connect();
if (station.protocol !== dialect.protocol) fail("protocol", station.protocol);
const booted = await station.call("BootNotification", dialect.boot);
if (booted.status !== "Accepted") fail("boot", booted);
await dialect.status(station, new Date().toISOString());
await station.call("Heartbeat", {});

const unknown = await dialect.authorize(station, "NO-SUCH-CARD");
const known = await dialect.authorize(station, plan.idToken);
const other = await station.call(dialect.unsupported.action, dialect.unsupported.payload).then(
  () => "answered",
  (error) => error.rpcErrorCode,
);
tell("booted", { interval: booted.interval, known, unknown, other });

const byCard = await charge({
  begun: new Date(Date.now() - 40 * 60_000),
  idToken: plan.idToken,
  registers: [
    [0, 100_000],
    [10, 103_600],
    [20, 107_350],
  ],
  fullAt: 20,
  endedAt: 30,
});
tell("ended", { transaction: byCard });

const [start, stop, reset] = ["start", "stop", "reset"].map(ordered);
for (const command of ["unlock", "trigger"]) {
  station.handle(dialect.commands[command], ({ params }) => {
    tell(command, { params });
    return { status: dialect.answers[command] };
  });
}
tell("waiting");
const remote = dialect.remote(await start);
remote.stopped = stop;
const byCommand = await charge({
  begun: new Date(),
  idToken: remote.idToken,
  registers: [
    [0, 107_350],
    [1, 107_700],
    [2, 108_050],
  ],
  endedAt: 2,
  remote,
});
tell("ended", { transaction: byCommand });
await reset;
tell("reset");
await station.close({ awaitPending: true });
if (station.state !== RPCClient.CLOSED) await once(station, "close");
