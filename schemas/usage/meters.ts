/** What is metered, in the order of statements. Quantities are whole numbers of the unit in the name. */
export const METERS = ['runs', 'signals', 'tokens', 'browser-seconds', 'storage-byte-hours', 'plugin-cpu-ms'] as const;
export type Meter = (typeof METERS)[number];

/** Unit of a meter, as statements and charts write it. */
export const METER_UNITS: Readonly<Record<Meter, string>> = {
  'runs': 'runs',
  'signals': 'signals',
  'tokens': 'tokens',
  'browser-seconds': 's',
  'storage-byte-hours': 'B·h',
  'plugin-cpu-ms': 'ms',
};
