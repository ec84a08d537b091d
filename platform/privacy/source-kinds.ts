import type { SourceKind } from '../../schemas/privacy/source-kinds.ts';
import { HalError } from '../../schemas/errors.ts';
import { httpAnnotationsSchema, manualAnnotationsSchema, redisAnnotationsSchema, s3AnnotationsSchema } from '../../schemas/privacy/record-annotations.ts';
import { readAnnotations } from './annotation-file.ts';
import { readRecordAnnotations } from './record-annotations.ts';
import { parseSourceAddress } from './source-address.ts';

/** How sources of a kind are declared. */
export interface SourceDeclaration {
  /**
   * Checks an address, and says what of it may be shown.
   * @throws {HalError} InvalidInput that never shows the address.
   */
  readonly shown: (address: string) => { readonly host: string; readonly database: string };
  /** @throws {HalError} InvalidInput when what people say of its records cannot be read. */
  readonly checkAnnotations: (annotations: string) => void;
}

export const SOURCE_DECLARATIONS: Readonly<Record<SourceKind, SourceDeclaration>> = {
  postgres: {
    shown(address) {
      const { host, database } = parseSourceAddress(address);
      return { host, database };
    },
    checkAnnotations: (annotations) => void readAnnotations(annotations),
  },
  redis: {
    shown(address) {
      const url = urlOf(address, ['redis:', 'rediss:'], 'redis://user:password@host:port/database');
      if (!/^(\/\d*)?$/.test(url.pathname) || url.search !== '') throw unusable('a number of a database may follow the host, nothing else');
      return { host: url.hostname, database: url.pathname.slice(1) || '0' };
    },
    checkAnnotations: (annotations) => void readRecordAnnotations(redisAnnotationsSchema, annotations),
  },
  s3: {
    shown(address) {
      const url = urlOf(address, ['s3:'], 's3://key:secret@host:port/bucket?region=eu-central-1');
      if (url.username === '' || url.password === '' || !/^\/[a-z0-9][a-z0-9.-]{1,62}$/.test(url.pathname)) throw unusable('the key, its secret and a bucket are needed');
      for (const name of url.searchParams.keys()) if (name !== 'region' && name !== 'tls') throw unusable('only region and tls=disable may follow the bucket');
      return { host: url.host, database: url.pathname.slice(1) };
    },
    checkAnnotations: (annotations) => void readRecordAnnotations(s3AnnotationsSchema, annotations),
  },
  http: {
    shown(address) {
      const url = urlOf(address, ['https:', 'http:'], 'https://bearer:token@host/path');
      if (url.search !== '') throw unusable('nothing may follow the path');
      return { host: url.host, database: url.pathname };
    },
    checkAnnotations: (annotations) => void readRecordAnnotations(httpAnnotationsSchema, annotations),
  },
  manual: {
    shown(address) {
      const text = /^manual:(.{1,200})$/.exec(address)?.[1];
      if (text === undefined) throw unusable('manual: and where it is, in words, are expected');
      return { host: 'by hand', database: text };
    },
    checkAnnotations: (annotations) => void readRecordAnnotations(manualAnnotationsSchema, annotations),
  },
};

function urlOf(text: string, protocols: readonly string[], expected: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hostname === '' || url.hash !== '' || !protocols.includes(url.protocol)) throw unusable(`${expected} is expected`);
  for (const part of [url.username, url.password]) {
    try {
      decodeURIComponent(part);
    } catch (error) {
      if (!(error instanceof URIError)) throw error;
      throw unusable('user and password must be percent-encoded');
    }
  }
  return url;
}

/** Never shows the address. */
function unusable(why: string): HalError {
  return new HalError('InvalidInput', `the address cannot be used: ${why}`, { errors: [{ path: '/address', message: why }] });
}
