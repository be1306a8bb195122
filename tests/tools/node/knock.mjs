// Knocks at the door of the central system as an `ocpp-rpc` station and tells how it was answered.
//
//   node knock.mjs '[{"endpoint", "identity", "password", "version"}, ...]'
//
// One line of JSON for each attempt: whether it came in, or status, headers and body of the answer.

import { createRequire } from "node:module";
import { dialects } from "./dialects.mjs";

const { RPCClient } = createRequire(import.meta.url)("ocpp-rpc");

for (const attempt of JSON.parse(process.argv[2])) {
  const { protocol } = dialects[attempt.version];
  const station = new RPCClient({
    endpoint: attempt.endpoint,
    identity: attempt.identity,
    password: attempt.password,
    headers: attempt.headers ?? {},
    protocols: [protocol],
    strictMode: true,
    reconnect: false,
  });
  let answer;
  try {
    await station.connect();
    answer = { connected: station.protocol };
    await station.close();
  } catch ({ response, message }) {
    // `rawHeaders` as they came: order and letter case are part of what must be alike.
    answer = response
      ? { status: response.statusCode, headers: response.rawHeaders, body: await read(response) }
      : { error: message };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

async function read(response) {
  const parts = [];
  try {
    for await (const part of response) parts.push(part);
  } catch (error) {
    // The client tears the connection down at once; what came before that is the body.
    if (error.code !== "ECONNRESET") throw error;
  }
  return Buffer.concat(parts).toString();
}
