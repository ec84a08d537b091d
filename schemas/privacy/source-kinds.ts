/** Kinds of systems that can be declared; each has its address in `platform/privacy/source-kinds.ts` and its connector in `activities/privacy/connectors.ts`. */
export const SOURCE_KINDS = ['postgres', 'redis', 's3', 'http', 'manual'] as const;
export type SourceKind = (typeof SOURCE_KINDS)[number];
