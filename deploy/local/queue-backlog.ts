import { existsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

/** Field `ack_level` of `temporal.server.api.persistence.v1.TaskQueueInfo` (a varint), and the wire types of protobuf. */
const ACK_LEVEL = 5n;
const [VARINT, FIXED64, LENGTH, FIXED32] = [0n, 1n, 2n, 5n];

/**
 * Whether a Temporal file holds tasks that only a server without fairness hands out. Server 1.29 keeps tasks of the two kinds in
 * tables of their own and does not move them: with fairness switched on, those that wait would wait for ever.
 */
export function hasUnfairBacklog(file: string): boolean {
  if (!existsSync(file)) return false;
  const database = new DatabaseSync(file, { readOnly: true });
  try {
    const tables = new Set(database.prepare("select name from sqlite_master where type = 'table'").all().map(({ name }) => name));
    if (!tables.has('tasks') || !tables.has('task_queues')) return false;
    const queues = database.prepare('select range_hash, task_queue_id, data from task_queues').all();
    const waiting = database.prepare('select count(*) as n from tasks where range_hash = ? and task_queue_id = ? and task_id > ?');
    // Tasks that were handed out are deleted late; the queue knows up to which one they were.
    return queues.some(({ range_hash: hash, task_queue_id: id, data }) => Number(waiting.get(hash ?? null, id ?? null, data instanceof Uint8Array ? ackLevel(data) : 0n)?.['n']) > 0);
  } finally {
    database.close();
  }
}

/** @throws {RangeError} for bytes that are no message. */
function ackLevel(message: Uint8Array): bigint {
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = message[at];
      if (byte === undefined || shift > 63n) throw new RangeError('the description of a task queue cannot be read');
      at += 1;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const wire = tag & 7n;
    if (wire === VARINT) {
      const value = varint();
      if (tag >> 3n === ACK_LEVEL) return value;
    } else if (wire === LENGTH) {
      const length = Number(varint());
      at += length;
    } else if (wire === FIXED64) at += 8;
    else if (wire === FIXED32) at += 4;
    else throw new RangeError('the description of a task queue cannot be read');
  }
  return 0n;
}
