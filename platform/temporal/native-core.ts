/** What the SDK's native core tells its logger: what goes wrong. */
export const CORE_LOGGING = { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } as const;

/** What the native core is told of its connection. Payloads are ciphertext, which does not shrink: compressing them costs time only. */
export const NATIVE_CHANNEL = { grpcCompression: { codec: 'none' } } as const;
