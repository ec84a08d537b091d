-- Tenancy: every table starts its keys with org_id and is guarded by row-level security, forced on the owner too.
create function hal9_org() returns uuid language sql stable parallel safe as
  $$ select nullif(current_setting('hal9.org', true), '')::uuid $$;

-- Guards a table: the application role sees only the organisation of its transaction.
create procedure hal9_guard(target regclass, variadic privileges text[]) language plpgsql as $$
begin
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  execute format('create policy app_org on %s to hal9_app using (org_id = (select hal9_org())) with check (org_id = (select hal9_org()))', target);
  execute format('grant %s on %s to hal9_app', array_to_string(privileges, ', '), target);
end
$$;

-- Opens a table to the cross-organisation role, for the privileges its background work needs.
create procedure hal9_system_access(target regclass, variadic privileges text[]) language plpgsql as $$
begin
  execute format('create policy system_all on %s to hal9_system using (true) with check (true)', target);
  execute format('grant %s on %s to hal9_system', array_to_string(privileges, ', '), target);
end
$$;

create table organisations (
  org_id uuid primary key,
  name text not null,
  settings jsonb not null default '{}',
  created_at timestamptz not null default now()
);
call hal9_guard('organisations', 'select', 'update');
call hal9_system_access('organisations', 'select', 'insert');

create table api_keys (
  org_id uuid not null references organisations,
  id uuid not null,
  name text not null,
  -- Public part of the key; found by it before the organisation is known.
  prefix text not null unique,
  -- SHA-256 of the 256-bit secret: with that much entropy a slow hash adds nothing.
  secret_hash bytea not null,
  scopes text[] not null,
  created_at timestamptz not null default now(),
  expires_at timestamptz,
  revoked_at timestamptz,
  last_used_at timestamptz,
  primary key (org_id, id)
);
call hal9_guard('api_keys', 'select', 'insert', 'update');
call hal9_system_access('api_keys', 'select', 'insert', 'update');
