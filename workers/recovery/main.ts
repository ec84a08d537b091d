import { createHash } from 'node:crypto';
import { hostname } from 'node:os';
import { Scratch } from '../../activities/recovery/scratch.ts';
import { createRecoveryActivities } from '../../activities/recovery/worker-activities.ts';
import { openRestoredServer } from '../../deploy/local/restored-server.ts';
import { recoveryTaskQueue, TASK_QUEUES } from '../../schemas/names/task-queues.ts';
import { once, serveQueue } from '../core/serve.ts';
import { runProcess } from '../process.ts';

/** How often what ended drills left is looked for, ms. */
const SWEEP_MS = 60_000;

/** Restores backups for drills: gives its machine out on the common queue and does the work on its own. */
await runProcess('recovery', { temporalWorker: true }, async (context) => {
  const { config, database, keys, logger } = context;
  const server = await openRestoredServer(config);
  const scratch = new Scratch(server);
  // The same when the worker is started again: what it had restored lies there still.
  const queue = recoveryTaskQueue(`${hostname().replace(/[^A-Za-z0-9._-]/g, '-').slice(0, 60)}-${createHash('sha256').update(server.root).digest('hex').slice(0, 8)}`);
  const activities = createRecoveryActivities({ config, database, keys, server, scratch, queue });
  const sweep = (): void => void scratch.sweep().catch((error: unknown) => logger.warn({ err: error }, 'scratch databases of ended drills are not removed'));
  const sweeping = setInterval(sweep, SWEEP_MS);
  try {
    const connection = await context.connectWorker();
    let waiting = 2;
    const onPolling = (): void => {
      waiting -= 1;
      if (waiting === 0) context.ready({ queues: [TASK_QUEUES.recovery, queue] });
    };
    const bundle = { hash: '', code: '' };
    await Promise.all([
      serveQueue(context, connection, bundle, { queue, workflows: false, activities: { ...activities } }, once(onPolling)),
      serveQueue(context, connection, bundle, { queue: TASK_QUEUES.recovery, workflows: false, activities: { claimRecovery: () => activities.claimRecovery() } }, once(onPolling)),
    ]);
  } finally {
    clearInterval(sweeping);
  }
});
