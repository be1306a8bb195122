// The SDK's client for a running emulator, which `python -m tests.doubles.hedera` describes.

import { AccountId, Client, LogLevel, Logger, PrivateKey } from "@hiero-ledger/sdk";

// For mirrors of this machine the SDK knows only these ports of REST: 5551 for most requests, 8545
// for calls, 8084 for fees. The emulator takes a free port, so requests to them are led there.
const FIXED_PORTS = /^http:\/\/127\.0\.0\.1:(5551|8545|8084)\//;

/** Return the client of an emulator's operator, and the operator's key. */
export function connect(emulator) {
    const request = globalThis.fetch;
    globalThis.fetch = (url, options) =>
        request(String(url).replace(FIXED_PORTS, `${emulator.mirror}/`), options);
    const client = Client.forNetwork(
        { [emulator.grpc]: AccountId.fromString(emulator.node_account) },
        { scheduleNetworkUpdate: false },
    );
    client.setMirrorNetwork([emulator.mirror_grpc]);
    client.setLogger(new Logger(LogLevel.Silent));
    const key = PrivateKey.fromStringECDSA(emulator.operator_test_key);
    client.setOperator(AccountId.fromString(emulator.operator_id), key);
    return { client, key };
}

/** Let the SDK's clock, that of this process, show the emulator's time as it is now. */
export async function keepTime(emulator) {
    const { now } = await (await fetch(emulator.control)).json();
    const [shown, began] = [Date.parse(now), performance.now()];
    Date.now = () => shown + Math.floor(performance.now() - began);
}

/** Tell the emulator's control address something. */
export async function control(emulator, path, body, method = "POST") {
    const answer = await fetch(`${emulator.control}${path}`, {
        method,
        body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (!answer.ok) {
        throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    }
}

/** Return the first `count` messages of a topic, by a subscription at the mirror. */
export function messages(client, query, topicId, count) {
    return new Promise((resolve, reject) => {
        const heard = [];
        const end = setTimeout(() => reject(new Error(`only ${heard.length} messages`)), 10_000);
        query.setTopicId(topicId).setStartTime(0).subscribe(
            client,
            (_, error) => reject(error),
            (message) => {
                heard.push(message);
                if (heard.length === count) {
                    clearTimeout(end);
                    resolve(heard);
                }
            },
        );
    });
}
