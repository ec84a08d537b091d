import type { ColumnType, Generated } from 'kysely';
import type { Timestamp } from './organisations.ts';

type MaybeTime = ColumnType<Date | null, Date | null | undefined, Date | null>;

/** Tables of migrations 0050 and 0051; the stores beside this file read and write them. */
export interface IdentityTables {
  users: {
    org_id: string;
    id: string;
    user_name: string;
    email: string | null;
    email_verified: Generated<boolean>;
    display_name: string | null;
    external_id: string | null;
    active: Generated<boolean>;
    password_hash: string | null;
    created_at: Timestamp;
    updated_at: Timestamp;
    last_sign_in_at: MaybeTime;
  };
  teams: {
    org_id: string;
    id: string;
    name: string;
    parent_id: string | null;
    external_id: string | null;
    features: Generated<unknown>;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  team_shares: { org_id: string; team_id: string; resource_kind: string; resource_id: string; access: 'read' | 'write'; created_at: Timestamp };
  team_members: { org_id: string; team_id: string; user_id: string };
  roles: {
    org_id: string;
    name: string;
    description: Generated<string>;
    inherits: Generated<string[]>;
    scopes: string[];
    reaches_descendants: Generated<boolean>;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  role_bindings: {
    org_id: string;
    id: string;
    user_id: string | null;
    team_id: string | null;
    role: string;
    conditions: Generated<unknown>;
    provider_id: string | null;
    created_at: Timestamp;
  };
  identity_providers: {
    org_id: string;
    id: string;
    kind: 'oidc' | 'saml' | 'ldap';
    name: string;
    preset: string | null;
    settings: unknown;
    secrets: Buffer | null;
    enabled: Generated<boolean>;
    role_mapping: Generated<unknown>;
    provisions: Generated<boolean>;
    vouches: Generated<string[]>;
    version: Generated<number>;
    state: Generated<'untested' | 'ok' | 'failed'>;
    last_tested_at: MaybeTime;
    last_failure: string | null;
    updated_by: Generated<string>;
    created_at: Timestamp;
    updated_at: Timestamp;
  };
  identity_provider_domains: {
    org_id: string;
    domain: string;
    provider_id: string;
    created_at: Timestamp;
    confirmed_at: MaybeTime;
    confirmed_by: string | null;
  };
  user_identities: {
    org_id: string;
    provider_id: string;
    subject: string;
    user_id: string;
    created_at: Timestamp;
    last_sign_in_at: MaybeTime;
  };
  sign_in_challenges: {
    org_id: string;
    id: string;
    kind: 'oidc' | 'saml' | 'second-factor' | 'webauthn-registration' | 'webauthn-assertion' | 'totp-registration' | 'password-reset';
    sealed: Buffer;
    expires_at: Date;
    consumed_at: MaybeTime;
  };
  used_assertions: { org_id: string; provider_id: string; assertion_hash: Buffer; expires_at: Date };
}
