import { DefaultFailureConverter } from '@temporalio/common';

/**
 * Puts message and stack of every failure through the payload codec. Loaded by path in clients, workers and the
 * workflow bundle, hence the name of the export.
 */
export const failureConverter = new DefaultFailureConverter({ encodeCommonAttributes: true });
