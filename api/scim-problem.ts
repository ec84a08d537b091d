import { z } from 'zod';
import type { HalError } from '../schemas/errors.ts';
import { ScimFailure, URN } from '../schemas/rest/scim.ts';

/** Where failures are told in SCIM's own format. */
export const SCIM_PATH = '/scim/v2';

export const scimProblem = z
  .object({ schemas: z.array(z.literal(URN.error)), status: z.string(), scimType: z.string().optional(), detail: z.string() })
  .meta({ id: 'ScimError' });

/** Status of a failure among SCIM's (RFC 7644 table 8), which knows no 422. */
export function scimStatusOf(error: HalError): number {
  return error.type === 'InvalidInput' ? 400 : error.failure.status;
}

/** Body of every failure below {@link SCIM_PATH} (RFC 7644 3.12). */
export function scimProblemOf(error: HalError): Record<string, unknown> {
  const scimType = scimTypeOf(error);
  const fields = error.errors.map(({ path, message }) => `${path} ${message}`).join('; ');
  return {
    schemas: [URN.error],
    status: String(scimStatusOf(error)),
    ...(scimType === undefined ? {} : { scimType }),
    detail: fields === '' ? error.message : `${error.message}: ${fields}`,
  };
}

function scimTypeOf(error: HalError): string | undefined {
  if (error instanceof ScimFailure) return error.scimType;
  switch (error.type) {
    case 'InvalidInput':
      return 'invalidValue';
    case 'MalformedBody':
      return 'invalidSyntax';
    case 'Conflict':
      return 'uniqueness';
    default:
      return undefined;
  }
}
