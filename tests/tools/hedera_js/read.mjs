// Reads topics and contracts with the unmodified SDK: `node read.mjs EMULATOR WANTED`, both JSON.
// WANTED: {"topics": {"0.0.1002": 3}, "calls": [["0xADDRESS", "0xCALLDATA"]]}, numbers of messages
// and calls. Prints one JSON object: messages with running hashes, and what the calls return by the
// node and by the mirror.

import {
    ContractCallQuery,
    ContractId,
    MirrorNodeContractCallQuery,
    TopicInfoQuery,
    TopicMessageQuery,
} from "@hiero-ledger/sdk";

import { connect, keepTime, messages } from "./network.mjs";

const [emulator, wanted] = process.argv.slice(2).map((text) => JSON.parse(text));
const { client } = connect(emulator);
const hex = (bytes) => Buffer.from(bytes).toString("hex");

const topics = {};
for (const [topicId, count] of Object.entries(wanted.topics ?? {})) {
    await keepTime(emulator); // which may run faster: so before each query that is paid
    const info = await new TopicInfoQuery().setTopicId(topicId).execute(client);
    const heard = count ? await messages(client, new TopicMessageQuery(), topicId, count) : [];
    topics[topicId] = {
        sequence_number: info.sequenceNumber.toNumber(),
        running_hash: hex(info.runningHash),
        messages: heard.map((each) => ({
            message: hex(each.contents),
            running_hash: hex(each.runningHash),
            sequence_number: each.sequenceNumber.toNumber(),
        })),
    };
}

const calls = [];
for (const [address, calldata] of wanted.calls ?? []) {
    const contractId = ContractId.fromEvmAddress(0, 0, address);
    const data = Buffer.from(calldata.slice(2), "hex");
    await keepTime(emulator);
    const byNode = await new ContractCallQuery()
        .setContractId(contractId)
        .setGas(1_000_000)
        .setFunctionParameters(data)
        .execute(client);
    const byMirror = await new MirrorNodeContractCallQuery()
        .setContractId(contractId)
        .setFunctionParameters(data)
        .execute(client);
    calls.push({ node: `0x${hex(byNode.asBytes())}`, mirror: byMirror });
}

console.log(JSON.stringify({ topics, calls }));
client.close();
process.exit(0);
