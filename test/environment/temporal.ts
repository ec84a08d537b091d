import { randomUUID } from 'node:crypto';
import { Connection } from '@temporalio/client';
import { msToTs } from '@temporalio/common/lib/time.js';
import { inject } from 'vitest';
import { SEARCH_ATTRIBUTES } from '../../schemas/names/search-attributes.ts';

/** `Keyword` in Temporal's enumeration of search attribute types. */
const KEYWORD = 2;

/** A namespace of one's own on the suite's Temporal server, with HAL9's search attributes: queues and runs of other files do not meet there. */
export async function createTestNamespace(): Promise<string> {
  const namespace = `test-${randomUUID()}`;
  const connection = await Connection.connect({ address: inject('temporalAddress') });
  try {
    await connection.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: msToTs('1 day') });
    const wanted = Object.fromEntries(Object.values(SEARCH_ATTRIBUTES).map((name) => [name, KEYWORD]));
    await eventually(() => connection.operatorService.addSearchAttributes({ namespace, searchAttributes: wanted }));
    await eventually(async () => {
      const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
      if (!Object.keys(wanted).every((name) => name in customAttributes)) throw new Error('search attributes are not there yet');
    });
    // The frontend maps the names of starts and queries from a cache of its own: a start before that is refused as naming an unknown attribute.
    const query = Object.keys(wanted).map((name) => `${name} = 'nobody'`).join(' AND ');
    await eventually(() => connection.workflowService.listWorkflowExecutions({ namespace, query, pageSize: 1 }));
    return namespace;
  } finally {
    await connection.close();
  }
}

/** The server's namespace caches lag behind a registration. */
async function eventually(work: () => Promise<unknown>): Promise<void> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    try {
      await work();
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
