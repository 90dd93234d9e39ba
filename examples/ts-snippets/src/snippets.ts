// One function for each thing the platform's interfaces offer to a component. See README.md.
import {
  generateIdempotencyKey,
  getSelfMetadata,
  getWorkerMetadata,
  GetWorkers,
  updateWorker,
  type ComponentId,
  type ComponentVersion,
  type Uuid,
  type WorkerAnyFilter,
  type WorkerId,
  type WorkerMetadata,
  type WorkerStatusFilter,
} from "golem:api/host@0.2.0";
import { Bucket, OutgoingValue } from "wasi:keyvalue/types@0.1.0";
import { get, set } from "wasi:keyvalue/eventual@0.1.0";
import { createContainer } from "wasi:blobstore/blobstore";
// For the methods of what createContainer returns.
import "wasi:blobstore/container";
import { OutgoingValue as OutgoingBlob } from "wasi:blobstore/types";
import { log } from "wasi:logging/logging";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const api = {
  idempotencyKey(): Uuid {
    return generateIdempotencyKey();
  },

  selfMetadata(): WorkerMetadata {
    return getSelfMetadata();
  },

  workerMetadataOf(workerId: WorkerId): WorkerMetadata | undefined {
    return getWorkerMetadata(workerId);
  },

  idleWorkers(componentId: ComponentId, precise: boolean): WorkerMetadata[] {
    const idle: WorkerStatusFilter = { comparator: "equal", value: "idle" };
    // Any of (all of (conditions)).
    const filter: WorkerAnyFilter = { filters: [{ filters: [{ tag: "status", val: idle }] }] };
    const getter = new GetWorkers(componentId, filter, precise);
    const workers: WorkerMetadata[] = [];
    let page: WorkerMetadata[] | undefined;
    while ((page = getter.getNext()) !== undefined) {
      workers.push(...page);
    }
    return workers;
  },

  update(workerId: WorkerId, targetVersion: ComponentVersion): void {
    updateWorker(workerId, targetVersion, "automatic");
  },

  setValue(bucket: string, key: string, value: string): void {
    const outgoing = OutgoingValue.newOutgoingValue();
    outgoing.outgoingValueWriteBodySync(encoder.encode(value));
    set(Bucket.openBucket(bucket), key, outgoing);
  },

  getValue(bucket: string, key: string): string | undefined {
    const incoming = get(Bucket.openBucket(bucket), key);
    return incoming && decoder.decode(incoming.incomingValueConsumeSync());
  },

  writeBlob(container: string, object: string, data: Uint8Array): void {
    const outgoing = OutgoingBlob.newOutgoingValue();
    const body = outgoing.outgoingValueWriteBody();
    for (let start = 0; start < data.length; start += 4096) {
      body.blockingWriteAndFlush(data.subarray(start, start + 4096));
    }
    createContainer(container).writeData(object, outgoing);
  },

  readBlob(container: string, object: string): Uint8Array {
    const opened = createContainer(container);
    const { size } = opened.objectInfo(object);
    return opened.getData(object, 0n, size).incomingValueConsumeSync();
  },

  logMessage(message: string): void {
    log("info", "snippets", message);
  },
};
