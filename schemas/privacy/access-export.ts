import { z } from 'zod';

/** `requested`; `collecting`; `blocked`: a source does not answer, see the reasons; `ready`: can be fetched; `expired`: is gone. */
export const ACCESS_EXPORT_STATES = ['requested', 'collecting', 'blocked', 'ready', 'expired'] as const;
export type AccessExportState = (typeof ACCESS_EXPORT_STATES)[number];

/** What of a source is in an export. */
export const exportedTable = z.object({ source: z.string(), table: z.string(), records: z.int() });
export type ExportedTable = z.infer<typeof exportedTable>;
