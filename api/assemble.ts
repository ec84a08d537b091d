import type { Express } from 'express';
import type { PayloadCodec } from '@temporalio/common';
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { ActWriter } from '../platform/audit/act-writer.ts';
import type { Config } from '../platform/config/config.ts';
import type { KeyRing } from '../platform/keys/key-ring.ts';
import type { Operations } from '../platform/operations/contract.ts';
import type { Admission } from '../platform/usage/quota-gate.ts';
import { RateLimits } from '../platform/usage/rate-limits.ts';
import { SharedCounters } from '../platform/usage/shared-counters.ts';
import { createApp } from './app.ts';
import type { Identity } from './identity.ts';
import { openApiOf, type OpenApiDocument } from './openapi.ts';
import type { AnyRoute } from './route.ts';
import { createApiKeyRoutes } from './routes/api-keys.ts';
import { createCodecRoutes } from './routes/codec.ts';
import { createConsoleRoutes } from './routes/console.ts';
import { createDocumentationRoutes } from './routes/documentation.ts';
import { createHealthRoutes, type Dependency } from './routes/health.ts';
import { createIdentityProviderRoutes } from './routes/identity-providers.ts';
import { createLdapRoutes } from './routes/ldap.ts';
import { createOidcRoutes } from './routes/oidc.ts';
import { createProviderLogoutRoutes } from './routes/provider-logout.ts';
import { createRunRoutes } from './routes/runs.ts';
import { createFactorRoutes } from './routes/factors.ts';
import { createSamlRoutes } from './routes/saml.ts';
import { createSessionRoutes } from './routes/sessions.ts';
import { createSignInPageRoutes } from './routes/sign-in-pages.ts';
import { createSignInRoutes } from './routes/sign-in.ts';
import { createTokenRoutes } from './routes/tokens.ts';
import { createUiSessionRoutes } from './routes/ui-session.ts';
import { createWorkflowRoutes } from './routes/workflows.ts';
import { TEMPORAL_UI_PATH, temporalUi } from './temporal-ui.ts';

/** What a running API process has; everything else is made from it. */
export interface ApiParts {
  readonly config: Config;
  readonly version: string;
  readonly identity: Identity;
  readonly keys: KeyRing;
  readonly codec: PayloadCodec;
  readonly operations: Operations;
  /** Names soft quotas that are passed in answers to starts. */
  readonly admission?: Admission;
  /** Shared with the other processes; default: this one counts for itself. */
  readonly rates?: RateLimits;
  /** Writes acts that have no transaction of their own. */
  readonly acts: ActWriter;
  readonly dependencies: readonly Dependency[];
  readonly logger: Logger;
  readonly registry: Registry;
  readonly draining: () => boolean;
  /** See `platform/identity/platform-organisation.ts`. */
  readonly platformOrganisation: () => Promise<string | undefined>;
  readonly extraMetrics?: () => Promise<string>;
  /** Routes of the resources that are not part of the ground floor: signals, neurons and so on. */
  readonly resources: readonly AnyRoute[];
}

export interface AssembledApi {
  readonly app: Express;
  readonly routes: readonly AnyRoute[];
  readonly openApi: OpenApiDocument;
}

/** Puts the app together. Routes that are asked most come first: Express tries them in order. */
export function assembleApi(parts: ApiParts): AssembledApi {
  const { config, operations, identity, logger, registry } = parts;
  const { apiKeys, credentials, sessions, https } = identity;
  const limits = parts.rates ?? new RateLimits({ counters: new SharedCounters(undefined, logger), requestsPerKey: config.HAL9_RATE_LIMIT, failedAuthentications: config.HAL9_FAILED_LOGINS, addressKey: (address) => address, logger });
  const proxied = config.HAL9_TEMPORAL_UI_UPSTREAM;
  const uiUrl = config.TEMPORAL_UI_URL ?? (proxied === undefined ? undefined : TEMPORAL_UI_PATH);
  const ui = uiUrl === undefined ? undefined : { url: uiUrl, namespace: config.TEMPORAL_NAMESPACE };
  const uiOrigin = config.TEMPORAL_UI_URL === undefined ? undefined : new URL(config.TEMPORAL_UI_URL).origin;

  const routes: AnyRoute[] = [
    ...createWorkflowRoutes({ operations, temporalUi: ui, admission: parts.admission, rates: limits }),
    ...createRunRoutes({ operations, temporalUi: ui }),
    ...parts.resources,
    ...createApiKeyRoutes({ apiKeys }),
    ...createHealthRoutes({ dependencies: parts.dependencies, registry, draining: parts.draining, ...(parts.extraMetrics === undefined ? {} : { extraMetrics: parts.extraMetrics }) }),
    ...createCodecRoutes({ codec: parts.codec, namespace: config.TEMPORAL_NAMESPACE, logger, acts: parts.acts }),
    ...createUiSessionRoutes({ identity, destination: proxied === undefined ? (config.TEMPORAL_UI_URL ?? '/docs') : TEMPORAL_UI_PATH }),
    ...createSignInRoutes(identity),
    ...createSignInPageRoutes(),
    ...createIdentityProviderRoutes(identity),
    ...createOidcRoutes(identity),
    ...createSamlRoutes(identity),
    ...createProviderLogoutRoutes(identity),
    ...createLdapRoutes(identity),
    ...createSessionRoutes(identity),
    ...createFactorRoutes(identity),
    ...createTokenRoutes(identity),
    ...createConsoleRoutes(),
    ...createDocumentationRoutes(() => openApi),
  ];
  const openApi = openApiOf(routes, operations.contracts.values(), parts.version);
  const app = createApp({
    routes,
    acts: parts.acts,
    credentials,
    sessions,
    limits,
    logger,
    registry,
    corsOrigins: config.HAL9_CORS_ORIGINS,
    uiOrigin,
    temporalUi: proxied === undefined ? undefined : temporalUi({ target: proxied, platformOrganisation: parts.platformOrganisation, credentials, sessions, limits, https, uiOrigin }),
    bodyLimitBytes: config.HAL9_BODY_LIMIT_BYTES,
    trustedProxies: config.HAL9_TRUSTED_PROXIES,
    https,
  });
  return { app, routes, openApi };
}
