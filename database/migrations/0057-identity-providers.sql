-- Administration of identity providers: what the last test said, who changed them, which e-mail domains lead to them
-- (docs/decisions/0120 to 0125).
alter table identity_providers
  -- Raised by every change of settings; a test notes its outcome for the version it tested only.
  add column version int not null default 1,
  add column state text not null default 'untested' check (state in ('untested', 'ok', 'failed')),
  add column last_tested_at timestamptz,
  -- Plain words, without secrets.
  add column last_failure text,
  -- `<kind>:<id>` of who changed it last.
  add column updated_by text not null default '';

-- E-mail domains that an organisation says are its own: people who type such an address are sent to the provider. A claim counts
-- once an administrator of the platform has confirmed it; of several claims to one domain one can be.
create table identity_provider_domains (
  org_id uuid not null,
  -- Lower case, as in DNS.
  domain text not null check (domain = lower(domain) and length(domain) between 3 and 253),
  provider_id uuid not null,
  created_at timestamptz not null default now(),
  confirmed_at timestamptz,
  confirmed_by text,
  primary key (org_id, domain),
  foreign key (org_id, provider_id) references identity_providers on delete cascade,
  check ((confirmed_at is null) = (confirmed_by is null))
);
create unique index identity_provider_domains_confirmed on identity_provider_domains (domain) where confirmed_at is not null;
create index identity_provider_domains_by_provider on identity_provider_domains (org_id, provider_id);
call hal9_guard('identity_provider_domains', 'select', 'insert', 'delete');
call hal9_system_access('identity_provider_domains', 'select', 'update');

-- How many active owners can prove who they are: by password, by passkey, or at an enabled provider.
create function hal9_owners_with_way_in(organisation uuid) returns bigint language plpgsql stable as $$
begin
  return (
    with recursive owning as (
      select team_id from role_bindings where org_id = organisation and role = 'owner' and team_id is not null
      union
      select t.id from owning o join teams t on t.org_id = organisation and t.parent_id = o.team_id
    )
    select count(*) from users u
    where u.org_id = organisation and u.active
      and (exists (select from role_bindings b where b.org_id = organisation and b.user_id = u.id and b.role = 'owner')
        or exists (select from team_members m join owning o on o.team_id = m.team_id where m.org_id = organisation and m.user_id = u.id))
      and (u.password_hash is not null
        or exists (select from user_factors f where f.org_id = organisation and f.user_id = u.id and f.kind = 'webauthn')
        or exists (select from user_identities i join identity_providers p on p.org_id = i.org_id and p.id = i.provider_id
          where i.org_id = organisation and i.user_id = u.id and p.enabled)));
end
$$;
