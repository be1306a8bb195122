// What a charging station says in OCPP 1.6 and in 2.0.1, each in its own words.

const REGISTER = "Energy.Active.Import.Register";

const v16 = {
  protocol: "ocpp1.6",
  boot: {
    chargePointVendor: "Judge",
    chargePointModel: "Strict",
    chargePointSerialNumber: "J-16",
    firmwareVersion: "1.0",
  },
  commands: {
    start: "RemoteStartTransaction",
    stop: "RemoteStopTransaction",
    reset: "Reset",
    unlock: "UnlockConnector",
    trigger: "TriggerMessage",
  },
  answers: { unlock: "Unlocked", trigger: "Accepted" },
  unsupported: { action: "DiagnosticsStatusNotification", payload: { status: "Idle" } },

  async status(station, timestamp, status = "Available") {
    const payload = { connectorId: 1, errorCode: "NoError", status, timestamp };
    await station.call("StatusNotification", payload);
  },

  async authorize(station, idTag) {
    return (await station.call("Authorize", { idTag })).idTagInfo.status;
  },

  async begin(station, session, timestamp, register) {
    await v16.status(station, timestamp, "Preparing");
    const answer = await station.call("StartTransaction", {
      connectorId: 1,
      idTag: session.idToken,
      meterStart: register,
      timestamp,
    });
    if (answer.idTagInfo.status !== "Accepted") throw Error(JSON.stringify(answer));
    session.id = answer.transactionId;
    await v16.status(station, timestamp, "Charging");
  },

  async meter(station, session, timestamp, register) {
    const sampledValue = [
      { value: String(register), measurand: REGISTER, unit: "Wh", context: "Sample.Periodic" },
      { value: "21500.5", measurand: "Power.Active.Import", unit: "W" },
    ];
    await station.call("MeterValues", {
      connectorId: 1,
      transactionId: session.id,
      meterValue: [{ timestamp, sampledValue }],
    });
  },

  async suspend(station, session, timestamp) {
    await v16.status(station, timestamp, "SuspendedEV");
  },

  async end(station, session, timestamp, register, byCard) {
    const answer = await station.call("StopTransaction", {
      transactionId: session.id,
      meterStop: register,
      timestamp,
      reason: byCard ? "Local" : "Remote",
      ...(byCard ? { idTag: session.idToken } : {}),
    });
    if (byCard && answer.idTagInfo.status !== "Accepted") throw Error(JSON.stringify(answer));
    await v16.status(station, timestamp);
    await station.call("DataTransfer", { vendorId: "judge.example", messageId: "any" });
  },

  remote({ idTag }) {
    return { idToken: idTag };
  },
};

const v201 = {
  protocol: "ocpp2.0.1",
  boot: {
    reason: "PowerUp",
    chargingStation: { vendorName: "Judge", model: "Strict", serialNumber: "J-201" },
  },
  commands: {
    start: "RequestStartTransaction",
    stop: "RequestStopTransaction",
    reset: "Reset",
    unlock: "UnlockConnector",
    trigger: "TriggerMessage",
  },
  answers: { unlock: "Unlocked", trigger: "Accepted" },
  unsupported: {
    action: "NotifyReport",
    payload: { requestId: 1, generatedAt: "2026-01-01T00:00:00Z", seqNo: 0 },
  },

  async status(station, timestamp, connectorStatus = "Available") {
    const payload = { timestamp, connectorStatus, evseId: 1, connectorId: 1 };
    await station.call("StatusNotification", payload);
  },

  async authorize(station, idToken) {
    const answer = await station.call("Authorize", { idToken: card(idToken) });
    return answer.idTokenInfo.status;
  },

  async begin(station, session, timestamp, register) {
    await v201.status(station, timestamp, "Occupied");
    session.id = `judge-${Date.now()}`;
    session.seqNo = 0;
    const { remote } = session;
    const answer = await event(station, session, "Started", timestamp, {
      triggerReason: remote ? "RemoteStart" : "Authorized",
      idToken: card(session.idToken),
      evse: { id: 1, connectorId: 1 },
      meterValue: [reading(timestamp, register, "Transaction.Begin")],
      transactionInfo: {
        chargingState: "Charging",
        ...(remote ? { remoteStartId: remote.remoteStartId } : {}),
      },
    });
    if (answer.idTokenInfo?.status !== "Accepted") throw Error(JSON.stringify(answer));
  },

  async meter(station, session, timestamp, register) {
    await event(station, session, "Updated", timestamp, {
      triggerReason: "MeterValuePeriodic",
      meterValue: [reading(timestamp, register, "Sample.Periodic")],
    });
  },

  async suspend(station, session, timestamp) {
    await event(station, session, "Updated", timestamp, {
      triggerReason: "ChargingStateChanged",
      transactionInfo: { chargingState: "SuspendedEV" },
    });
  },

  async end(station, session, timestamp, register, byCard) {
    await event(station, session, "Ended", timestamp, {
      triggerReason: byCard ? "StopAuthorized" : "RemoteStop",
      meterValue: [reading(timestamp, register, "Transaction.End")],
      transactionInfo: { stoppedReason: byCard ? "Local" : "Remote", chargingState: "Idle" },
      ...(byCard ? { idToken: card(session.idToken) } : {}),
    });
    await v201.status(station, timestamp);
    await station.call("DataTransfer", { vendorId: "judge.example", data: { any: [1, null] } });
  },

  remote({ idToken, remoteStartId }) {
    return { idToken: idToken.idToken, remoteStartId };
  },
};

function card(idToken) {
  return { idToken, type: "ISO14443" };
}

function reading(timestamp, register, context) {
  const sampledValue = [
    { value: register / 1000, measurand: REGISTER, context, unitOfMeasure: { unit: "kWh" } },
    { value: 21500.5, measurand: "Power.Active.Import" },
  ];
  return { timestamp, sampledValue };
}

function event(station, session, eventType, timestamp, { transactionInfo, ...more }) {
  return station.call("TransactionEvent", {
    eventType,
    timestamp,
    seqNo: session.seqNo++,
    transactionInfo: { transactionId: session.id, ...transactionInfo },
    ...more,
  });
}

export const dialects = { "1.6": v16, "2.0.1": v201 };
