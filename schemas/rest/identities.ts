import { z } from 'zod';

/** What a person is looked up by. */
export const identities = z
  .record(z.string().min(1).max(50), z.array(z.string().trim().min(1).max(500)).min(1).max(20))
  .refine((given) => Object.keys(given).length > 0 && Object.keys(given).length <= 10, 'one to ten kinds of identities')
  .describe('By kind, as the annotations name them, e.g. `{"email": ["a@example.com"]}`.');
