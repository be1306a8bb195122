// What the judge does on the network, one function a scenario; each returns what it has seen.

import assert from "node:assert/strict";
import {
    AccountAllowanceApproveTransaction,
    AccountBalanceQuery,
    AccountId,
    AccountInfoQuery,
    AccountUpdateTransaction,
    ContractByteCodeQuery,
    ContractCallQuery,
    ContractExecuteTransaction,
    ContractInfoQuery,
    EthereumTransaction,
    FeeEstimateQuery,
    Hbar,
    HbarUnit,
    KeyList,
    MirrorNodeContractCallQuery,
    MirrorNodeContractEstimateQuery,
    PrivateKey,
    ScheduleCreateTransaction,
    ScheduleInfoQuery,
    ScheduleSignTransaction,
    Status,
    Timestamp,
    TopicCreateTransaction,
    TopicInfoQuery,
    TopicMessageQuery,
    TopicMessageSubmitTransaction,
    TransactionId,
    TransactionReceiptQuery,
    TransactionRecordQuery,
    TransferTransaction,
} from "@hiero-ledger/sdk";
import { Interface, Wallet } from "ethers";

import { control, messages } from "./network.mjs";

const hex = (bytes) => Buffer.from(bytes).toString("hex");

async function refused(doing, status) {
    await assert.rejects(doing, (error) => {
        assert.equal(error.status?.toString(), status.toString(), error.message);
        return true;
    });
}

async function submit({ client }, topicId, message, ...keys) {
    const transaction = new TopicMessageSubmitTransaction({ topicId, message }).freezeWith(client);
    for (const key of keys) {
        await transaction.sign(key);
    }
    return (await transaction.execute(client)).getReceipt(client);
}

export async function topicWithThresholdKey(judge) {
    const { client, key } = judge;
    const [following, cold] = [PrivateKey.generateECDSA(), PrivateKey.generateED25519()];
    const submitKey = new KeyList(
        [key, following, cold].map((each) => each.publicKey),
        1,
    );
    const created = await new TopicCreateTransaction()
        .setTopicMemo("judged")
        .setSubmitKey(submitKey)
        .execute(client);
    const { topicId } = await created.getReceipt(client);
    const sequence = [];
    for (const [message, ...keys] of [["current"], ["next", following], ["cold", cold]]) {
        const receipt = await submit(judge, topicId, message, ...keys);
        assert.equal(receipt.topicRunningHash.length, 48);
        sequence.push(receipt.topicSequenceNumber.toNumber());
    }
    assert.deepEqual(sequence, [1, 2, 3]);
    const info = await new TopicInfoQuery().setTopicId(topicId).execute(client);
    assert.equal(info.topicMemo, "judged");
    assert.equal(info.adminKey, null);
    assert.equal(info.submitKey.threshold, 1);
    const heard = await messages(client, new TopicMessageQuery(), topicId, 3);
    assert.deepEqual(
        heard.map((each) => Buffer.from(each.contents).toString()),
        ["current", "next", "cold"],
    );
    assert.equal(hex(heard[2].runningHash), hex(info.runningHash));
    return {
        topic_id: topicId.toString(),
        running_hash: hex(info.runningHash),
        timestamps: heard.map(
            ({ consensusTimestamp: { seconds, nanos } }) =>
                `${seconds}.${String(nanos).padStart(9, "0")}`,
        ),
    };
}

export async function submitKeyOfAnother(judge) {
    const { client } = judge;
    const created = await new TopicCreateTransaction()
        .setSubmitKey(PrivateKey.generateED25519().publicKey)
        .execute(client);
    const { topicId } = await created.getReceipt(client);
    await refused(submit(judge, topicId, "no right to"), Status.InvalidSignature);
    await refused(
        submit(judge, topicId, "wrong key", PrivateKey.generateECDSA()),
        Status.InvalidSignature,
    );
    const info = await new TopicInfoQuery().setTopicId(topicId).execute(client);
    assert.equal(info.sequenceNumber.toNumber(), 0);
    return {};
}

export async function chunks(judge) {
    const { client } = judge;
    const created = await new TopicCreateTransaction().execute(client);
    const { topicId } = await created.getReceipt(client);
    const text = "0123456789".repeat(250);
    const transaction = new TopicMessageSubmitTransaction({ topicId, message: text });
    for (const sent of await transaction.executeAll(client)) {
        await sent.getReceipt(client);
    }
    const [whole] = await messages(client, new TopicMessageQuery(), topicId, 1);
    assert.equal(Buffer.from(whole.contents).toString(), text);
    assert.equal(whole.chunks.length, 3);
    return { topic_id: topicId.toString() };
}

export async function prechecks({ client, emulator }) {
    const id = TransactionId.generate(client.operatorAccountId);
    const create = () => new TopicCreateTransaction().setTransactionId(id).execute(client);
    await (await create()).getReceipt(client);
    await refused(create(), Status.DuplicateTransaction);
    const late = TransactionId.withValidStart(
        client.operatorAccountId,
        Timestamp.fromDate(new Date(Date.now() - 300_000)),
    );
    const expired = new TopicCreateTransaction()
        .setTransactionId(late)
        .setRegenerateTransactionId(false);
    await refused(expired.execute(client), Status.TransactionExpired);
    const cheap = new TopicCreateTransaction().setMaxTransactionFee(Hbar.fromTinybars(1));
    await refused(cheap.execute(client), Status.InsufficientTxFee);
    await control(emulator, "/faults", { kind: "busy", times: 2, method: "createTopic" });
    const patient = await new TopicCreateTransaction().execute(client); // tries again by itself
    await patient.getReceipt(client);
    const estimate = await new FeeEstimateQuery()
        .setTransaction(new TopicCreateTransaction())
        .execute(client);
    assert.equal(estimate.total.toNumber(), 100_000_000); // tinycents: one cent
    const record = await patient.getRecord(client);
    assert.equal(record.transactionFee.toTinybars().toNumber(), Math.floor(100_000_000 / 12));
    assert.equal(record.receipt.exchangeRate.cents, 12);
    return {};
}

export async function hollowAccount({ client, key }) {
    const owner = PrivateKey.generateECDSA();
    const address = owner.publicKey.toEvmAddress();
    const sent = await new TransferTransaction()
        .addHbarTransfer(client.operatorAccountId, new Hbar(-5))
        .addHbarTransfer(AccountId.fromEvmAddress(0, 0, address), new Hbar(5))
        .execute(client);
    const query = new TransactionReceiptQuery()
        .setTransactionId(sent.transactionId)
        .setIncludeChildren(true);
    const [child] = (await query.execute(client)).children;
    const info = await new AccountInfoQuery().setAccountId(child.accountId).execute(client);
    assert.equal(info.contractAccountId, address);
    const balance = await new AccountBalanceQuery().setAccountId(child.accountId).execute(client);
    assert.equal(balance.hbars.toString(HbarUnit.Hbar), new Hbar(5).toString(HbarUnit.Hbar));
    const operator = client.operatorAccountId;
    const fresh = PrivateKey.generateED25519();
    const update = async (...keys) => {
        const transaction = new AccountUpdateTransaction()
            .setAccountId(child.accountId)
            .setKey(fresh.publicKey)
            .freezeWith(client);
        for (const each of keys) {
            await transaction.sign(each);
        }
        return (await transaction.execute(client)).getReceipt(client);
    };
    // A hollow account has no key yet; that of its address completes it as soon as it pays.
    client.setOperator(child.accountId, owner);
    await (await new TopicCreateTransaction().execute(client)).getReceipt(client);
    client.setOperator(operator, key);
    await refused(update(fresh), Status.InvalidSignature);
    await update(owner, fresh);
    const changed = await new AccountInfoQuery().setAccountId(child.accountId).execute(client);
    assert.equal(changed.key.toString(), fresh.publicKey.toString());
    return { account_id: child.accountId.toString(), evm_address: address };
}

export async function contracts({ client, emulator, key }, { abi, bytecode }) {
    const wallet = new Wallet(`0x${key.toStringRaw()}`);
    const contract = new Interface(abi);
    let nonce = 0;
    const ethereum = async (to, data, gasLimit) => {
        const raw = await wallet.signTransaction({
            type: 2,
            chainId: emulator.chain_id,
            nonce,
            to,
            data,
            gasLimit,
            value: 0,
            maxFeePerGas: 0,
            maxPriorityFeePerGas: 0,
        });
        const sent = await new EthereumTransaction()
            .setEthereumData(Buffer.from(raw.slice(2), "hex"))
            .setMaxGasAllowanceHbar(new Hbar(20))
            .execute(client);
        const record = await new TransactionRecordQuery()
            .setTransactionId(sent.transactionId)
            .setValidateReceiptStatus(false)
            .execute(client);
        nonce += record.receipt.status === Status.WrongNonce ? 0 : 1;
        return record;
    };
    const deployed = await ethereum(null, bytecode, 3_000_000);
    assert.equal(deployed.receipt.status, Status.Success);
    const { contractId } = deployed.receipt;
    const info = await new ContractInfoQuery().setContractId(contractId).execute(client);
    const address = `0x${info.contractAccountId}`;
    const transfer = contract.encodeFunctionData("transfer", [`0x${"77".repeat(20)}`, 250_000n]);
    const faucet = contract.encodeFunctionData("faucet", [wallet.address, 1_000_000n]);
    const filled = await ethereum(address, faucet, 200_000);
    assert.equal(filled.receipt.status, Status.Success);
    const moved = await ethereum(address, transfer, 200_000);
    const [log] = moved.contractFunctionResult.logs;
    const topics = log.topics.map((topic) => `0x${hex(topic)}`);
    const { args } = contract.parseLog({ topics, data: log.data });
    assert.equal(args.value, 250_000n);
    const tooMuch = contract.encodeFunctionData("transfer", [wallet.address, 10n ** 30n]);
    const reverted = await ethereum(address, tooMuch, 200_000);
    const balanceOf = contract.encodeFunctionData("balanceOf", [wallet.address]);
    return {
        contract_id: contractId.toString(),
        evm_address: address,
        sender: wallet.address,
        code: hex(await new ContractByteCodeQuery().setContractId(contractId).execute(client)),
        refusal: contract.parseError(reverted.contractFunctionResult.errorMessage).name,
        status: reverted.receipt.status.toString(),
        ...(await read({ client }, contractId, balanceOf)),
        ...(await estimate({ client }, contractId, wallet.address, transfer)),
    };
}

/** Return what a call returns, by the node and by the mirror. */
async function read({ client }, contractId, calldata) {
    const data = Buffer.from(calldata.slice(2), "hex");
    const byNode = await new ContractCallQuery()
        .setContractId(contractId)
        .setGas(100_000)
        .setFunctionParameters(data)
        .execute(client);
    const byMirror = await new MirrorNodeContractCallQuery()
        .setContractId(contractId)
        .setFunctionParameters(data)
        .execute(client);
    assert.equal(`0x${hex(byNode.asBytes())}`, byMirror);
    return { returned: byMirror };
}

/** Return the gas that the mirror estimates, with which the same call by HAPI then succeeds. */
async function estimate({ client }, contractId, sender, calldata) {
    const data = Buffer.from(calldata.slice(2), "hex");
    const gas = await new MirrorNodeContractEstimateQuery()
        .setContractId(contractId)
        .setSenderEvmAddress(sender.slice(2))
        .setFunctionParameters(data)
        .execute(client);
    const sent = await new ContractExecuteTransaction()
        .setContractId(contractId)
        .setGas(gas)
        .setFunctionParameters(data)
        .execute(client);
    const record = await sent.getRecord(client);
    const used = record.contractFunctionResult.gasUsed.toNumber();
    assert.ok(used <= gas, `${used} of ${gas}`);
    return { estimated: gas, used };
}

export async function schedules({ client, key }) {
    const giver = PrivateKey.generateECDSA();
    const alias = AccountId.fromEvmAddress(0, 0, giver.publicKey.toEvmAddress());
    const filled = await new TransferTransaction()
        .addHbarTransfer(client.operatorAccountId, new Hbar(-5))
        .addHbarTransfer(alias, new Hbar(5))
        .execute(client);
    const query = new TransactionReceiptQuery()
        .setTransactionId(filled.transactionId)
        .setIncludeChildren(true);
    const { accountId } = (await query.execute(client)).children[0];
    const operator = client.operatorAccountId;
    client.setOperator(accountId, giver); // completes it
    await (await new TopicCreateTransaction().execute(client)).getReceipt(client);
    client.setOperator(operator, key);
    const created = await new ScheduleCreateTransaction()
        .setScheduledTransaction(
            new TransferTransaction()
                .addHbarTransfer(accountId, new Hbar(-1))
                .addHbarTransfer(operator, new Hbar(1)),
        )
        .execute(client);
    const { scheduleId } = await created.getReceipt(client);
    const info = () => new ScheduleInfoQuery().setScheduleId(scheduleId).execute(client);
    assert.equal((await info()).executed, null);
    const signed = await new ScheduleSignTransaction()
        .setScheduleId(scheduleId)
        .freezeWith(client)
        .sign(giver);
    await (await signed.execute(client)).getReceipt(client);
    assert.notEqual((await info()).executed, null);
    return { schedule_id: scheduleId.toString() };
}

export async function whatIsNotThere({ client }) {
    // An allowance: the emulator has no such thing, and says so.
    const allowance = new AccountAllowanceApproveTransaction().approveHbarAllowance(
        client.operatorAccountId,
        AccountId.fromString("0.0.2"),
        new Hbar(1),
    );
    await assert.rejects(allowance.setMaxAttempts(1).execute(client));
    return {};
}
